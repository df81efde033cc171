"""Finished runs that are real and take seconds: a pretrained BERT, and what is fine-tuned from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

QUESTIONS = 24


def command(folder: Path, *arguments: str) -> None:
    """Run a command in a folder, in this process; it must end well."""
    from llmkit.cli.main import main

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["llmkit", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 0


def questions(*, unanswerable: bool = False) -> list[dict[str, Any]]:
    """Rows of SQuAD's form, three to a passage."""
    rows = []
    for n in range(QUESTIONS):
        context = f"Tom Reed founded {'abcdefgh'[n // 3]}mbury in 18{n // 3}0. It lies by the sea."
        question, answer = [("Who founded it?", "Tom Reed"), ("Where does it lie?", "by the sea")][n % 2]
        answers = {"text": [answer], "answer_start": [context.index(answer)]}
        if unanswerable and n % 4 == 0:
            question, answers = "Who left it?", {"text": [], "answer_start": []}
        rows.append({"id": f"q{n}", "context": context, "question": question, "answers": answers})
    return rows


def write_questions(file: Path, **options: bool) -> None:
    """The rows as JSON lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in questions(**options)), encoding="utf-8")


def pretrained(folder: Path) -> Path:
    """runs/bert in the folder: a BERT of 2 × 64 on a text of its own, three steps long."""
    text = "".join(f"{row['context']} {row['question']}\n\n" for row in questions())
    (folder / "books.txt").write_text(text * 40, encoding="utf-8")
    source = "{path: books.txt, documents: blank_line}"
    command(
        folder,
        *("pretrain", "-r", "tiny/pretrain", "-o", "runs/bert", f"corpus.sources=[{source}]"),
        *("corpus.tokenizer.vocab_size=200", "train.max_steps=3", "name=bert"),
    )
    return folder / "runs" / "bert"


def finetuned(folder: Path, task: str, *overrides: str) -> Path:
    """runs/TASK in the folder, from runs/bert on questions.jsonl, three steps long."""
    write_questions(folder / f"{task}.jsonl", unanswerable=task == "squad_v2")
    command(
        folder,
        *("finetune", "-r", f"tiny/{task}", "-o", f"runs/{task}", f"name={task}"),
        *("model.pretrained=runs/bert", f"data.train={task}.jsonl", f"data.validation={task}.jsonl"),
        *("train.max_steps=3", *overrides),
    )
    return folder / "runs" / task
