"""Scores of tagged sentences: seqeval's entity scores, and the accuracy of tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import corpus_interval
from llmkit.tasks.tags.entities import OUTSIDE, Reader, each_word, entity_counts, entity_scores, f1_of_counts
from llmkit.tasks.tags.schemes import reader_of
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

ENTITY_SCORES = ("f1", "f1_interval", "precision", "recall", "support")  # of no use where each word is scored


def tag_scores(predictions: Sequence[Prediction], examples: Dataset, read: Reader | None = None) -> dict[str, Any]:
    """Entity `f1`, `precision` and `recall` and tag `accuracy` in percent, `macro_f1`, `support`, and `per_type`.

    `read` finds entities in tags; by default, the tags decide. Intervals are 95 % intervals over sentences. A missing
    prediction counts as no entities, and all its tags as wrong. Raises UserError if a prediction does not have one tag
    per word.
    """
    gold = examples["tags"][:]
    matched = by_id(predictions, examples)
    if read is None:
        predicted = {tag for prediction in matched if prediction is not None for tag in prediction.text.split()}
        read = reader_of(predicted.union(*gold))
    no_entity = "" if read is each_word else OUTSIDE
    found = [
        prediction.text.split() if prediction is not None else [no_entity] * len(tags)
        for prediction, tags in zip(matched, gold, strict=True)
    ]
    for example_id, ours, theirs in zip(examples["id"][:], found, gold, strict=True):
        if len(ours) != len(theirs):
            raise UserError(
                f"the prediction for {example_id} has {len(ours)} tags, its sentence {len(theirs)} words",
                remedy="give one tag per word, separated by spaces",
            )
    correct = np.array(
        [
            sum(a == b for a, b in zip(ours, theirs, strict=True)) if prediction is not None else 0
            for prediction, ours, theirs in zip(matched, found, gold, strict=True)
        ]
    )
    words = np.array([len(tags) for tags in gold])
    counts = entity_counts(found, gold, read)
    ids = examples["id"][:]
    scores = entity_scores(found, gold, read)
    per_type = scores.pop("per_type")
    return {
        **scores,
        "f1_interval": _ends(corpus_interval(lambda rows: f1_of_counts(counts[rows].sum(axis=0)), ids)),
        "macro_f1": float(np.mean([of["f1"] for of in per_type.values()])) if per_type else 0.0,
        "accuracy": float(100 * correct.sum() / words.sum()),
        "accuracy_interval": _ends(corpus_interval(lambda rows: 100 * correct[rows].sum() / words[rows].sum(), ids)),
        "per_type": per_type,
        "words": int(words.sum()),
        "total": len(examples),
    }


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return [float(end) for end in interval] if interval else None
