"""Convert SQuAD's nested JSON to flat rows, which both run_qa.py and llmkit read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def flat(file: Path) -> list[dict[str, Any]]:
    """One row per question: id, title, context, question, answers."""
    rows = []
    for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answers = {key: [answer[key] for answer in question["answers"]] for key in ("text", "answer_start")}
                rows.append(
                    {
                        "id": question["id"],
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": answers,
                    }
                )
    return rows


def write(rows: list[dict[str, Any]], file: Path) -> Path:
    """Write rows to a file and return its absolute path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"data": rows}), encoding="utf-8")
    return file.resolve()
