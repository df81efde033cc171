"""Texts with labels, and a vocabulary that splits all but a few words into letters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from llmkit.tasks.examples import examples_of
from llmkit.tasks.label.sections import LabelData
from support.hub_repos import glue_rows, rows_of

LETTERS = "abcdefghijklmnopqrstuvwxyz.,?'"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS), "calm", "storm", "sea"]
SHAPE: dict[str, Any] = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
}


def write_rows(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def reviews(count: int, names: Sequence[Any] = ("negative", "positive")) -> list[dict[str, Any]]:
    """Rows whose label is in their first word."""
    words = ("storm", "calm")
    return [
        {"text": f"{words[n % 2]} {'sea ' * (n % 5)}{LETTERS[n % 26]}.", "label": names[n % 2]} for n in range(count)
    ]


def examples_from(task: Any, *rows: dict[str, Any], **data: Any) -> Dataset:
    placed = ((f"row {number}", row) for number, row in enumerate(rows))
    return examples_of(task, placed, LabelData(path="x", **data), "train", labelled=True)


def rows_for(name: str) -> list[dict[str, Any]]:
    if name == "classification":
        return reviews(3)
    return glue_rows(name.removeprefix("glue/")) if name.startswith("glue/") else rows_of(name)
