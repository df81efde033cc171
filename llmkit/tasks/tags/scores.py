"""Scores of tagged sentences: seqeval's entity scores, and the accuracy of tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import intervals_of
from llmkit.tasks.measures import Measured, Sums, f1_of_counts
from llmkit.tasks.tags.entities import OUTSIDE, Reader, each_word, entity_counts, entity_scores
from llmkit.tasks.tags.schemes import reader_of
from llmkit.tasks.values import Array, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

ENTITY_SCORES = ("f1", "f1_interval", "precision", "recall", "support")  # of no use where each word is scored


class _Tags(NamedTuple):
    """Tags of all sentences, [sentences][words], and how entities are read from them."""

    gold: list[list[str]]
    found: list[list[str]]
    read: Reader
    correct: Array  # [sentences]: words whose tag is right
    words: Array  # [sentences]


def tag_scores(predictions: Sequence[Prediction], examples: Dataset, read: Reader | None = None) -> dict[str, Any]:
    """Entity `f1`, `precision` and `recall` and tag `accuracy` in percent, `macro_f1`, `support`, and `per_type`.

    `read` finds entities in tags; by default, the tags decide. Intervals are 95 % intervals over sentences. A missing
    prediction counts as no entities, and all its tags as wrong. Raises UserError if a prediction does not have one tag
    per word.
    """
    tags = _tags(predictions, examples, read)
    scores = entity_scores(tags.found, tags.gold, tags.read)
    per_type = scores.pop("per_type")
    return {
        **scores,
        "macro_f1": float(np.mean([of["f1"] for of in per_type.values()])) if per_type else 0.0,
        "accuracy": float(100 * tags.correct.sum() / tags.words.sum()),
        **intervals_of(_measures(tags, examples)),
        "per_type": per_type,
        "words": int(tags.words.sum()),
        "total": len(examples),
    }


def tag_measures(
    predictions: Sequence[Prediction], examples: Dataset, read: Reader | None = None
) -> dict[str, Measured]:
    """`f1` and `accuracy` of `tag_scores` as measures."""
    return _measures(_tags(predictions, examples, read), examples)


def _measures(tags: _Tags, examples: Dataset) -> dict[str, Measured]:
    counts = entity_counts(tags.found, tags.gold, tags.read).astype(np.float64)
    words = np.column_stack([tags.correct, tags.words]).astype(np.float64)
    ids = examples["id"][:]
    return {
        "f1": Measured(Sums(counts, f1_of_counts), ids),
        "accuracy": Measured(Sums(words, lambda sums: 100 * sums[..., 0] / sums[..., 1]), ids),
    }


def _tags(predictions: Sequence[Prediction], examples: Dataset, read: Reader | None) -> _Tags:
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
    return _Tags(gold, found, read, correct, words)
