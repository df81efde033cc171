"""Scores of tagged sentences: seqeval's entity scores, with an interval for F1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import corpus_interval
from llmkit.tasks.tags.entities import entity_counts, entity_scores, f1_of_counts
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset


def tag_scores(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """Entity `f1`, `precision` and `recall` and tag `accuracy` in percent, `support`, and `per_type`.

    `f1_interval` is the 95 % interval over sentences. A missing prediction counts as no entities, and all its tags as
    wrong. Raises UserError if a prediction does not have one tag per word.
    """
    gold = examples["tags"][:]
    found = [
        prediction.text.split() if prediction is not None else ["O"] * len(tags)
        for prediction, tags in zip(by_id(predictions, examples), gold, strict=True)
    ]
    for example_id, ours, theirs in zip(examples["id"][:], found, gold, strict=True):
        if len(ours) != len(theirs):
            raise UserError(
                f"the prediction for {example_id} has {len(ours)} tags, its sentence {len(theirs)} words",
                remedy="give one tag per word, separated by spaces",
            )
    missing = [prediction is None for prediction in by_id(predictions, examples)]
    correct = sum(
        a == b
        for ours, theirs, skipped in zip(found, gold, missing, strict=True)
        for a, b in zip(ours, theirs, strict=True)
        if not skipped
    )
    counts = entity_counts(found, gold)
    interval = corpus_interval(lambda rows: f1_of_counts(counts[rows].sum(axis=0)), examples["id"][:])
    words = int(np.sum([len(tags) for tags in gold]))
    return {
        **entity_scores(found, gold),
        "f1_interval": list(interval) if interval else None,
        "accuracy": 100 * correct / words,
        "words": words,
        "total": len(examples),
    }
