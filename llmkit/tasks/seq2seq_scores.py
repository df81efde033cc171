"""Scores of written texts: by BLEU and chrF, by ROUGE, or by equality and by what a query gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.tasks.base import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.finetune_recipe import TextData


def _texts(predictions: Sequence[Prediction], examples: Dataset) -> tuple[list[str], list[str]]:
    """What was written, empty where nothing was, and what it should have been."""
    return [found.text if found else "" for found in by_id(predictions, examples)], examples["target"][:]


def program_scores(predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
    """`exact_match` in percent: texts that are the same, white space aside."""
    written, wanted = _texts(predictions, examples)
    same = [float(a.split() == b.split()) for a, b in zip(written, wanted, strict=True)]
    return {"exact_match": 100 * sum(same) / len(same), "total": len(same)}


SCORES: dict[str, Callable[[Sequence[Prediction], Dataset, TextData], dict[str, Any]]] = {"program": program_scores}
