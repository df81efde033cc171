"""Scores of sets of labels, with 95 % bootstrap intervals over examples, and a tuned threshold for each label.

Micro scores are over all pairs of an example and a label, macro scores are means over labels. The labels are those that
occur among the gold ones; a predicted label that is none of them is wrong in the micro scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.tasks.bootstrap import scores_of
from llmkit.tasks.label import label_sets
from llmkit.tasks.label.average_precision import average_precision, macro_average_precision
from llmkit.tasks.label.thresholds import best_f1_threshold
from llmkit.tasks.measures import Measured, Pairs, Sums, f1_of_counts, mean_of
from llmkit.tasks.values import Array, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class _Sets:
    """Gold and predicted labels, [examples, labels], and what else counts.

    `others` is the number of predicted labels that no example has, [examples]; NaN without a prediction. `logits` are
    those of the candidates; a predicted label without one has 1, and any other without one -1.
    """

    labels: tuple[str, ...]
    gold: Array
    found: Array
    others: Array
    logits: Array
    complete: bool  # whether every prediction has candidates


def multilabel_scores(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """The scores of `multilabel_measures` with intervals [low, high], `total`, `per_label`, and `tuned`.

    `tuned` has the thresholds with the best F1 of each label on one half of the texts, with the scores on that half and
    on the other, and on the other with all thresholds at 0.5 (`untuned`). It is None if there are no probabilities to
    tune on, or one half is empty.
    """
    sets = _sets(predictions, examples)
    counts = _counts(sets).sum(axis=0)
    precisions = average_precision(*_pairs(sets), np.ones((1, sets.gold.size)))[0]
    per_label = {
        label: {**_scores(counts[number]), "average_precision": float(100 * precisions[number])}
        for number, label in enumerate(sets.labels)
    }
    return {
        **scores_of(_measures(sets, examples)),
        "per_label": per_label,
        "tuned": _tuned(sets, examples),
        "total": len(examples),
    }


def multilabel_measures(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Measured]:
    """`micro_f1`, `macro_f1`, `subset_accuracy`, and average precision, macro and micro, as measures.

    A missing prediction has no label, ranks every label last, and is wrong even if the gold set is empty.
    """
    return _measures(_sets(predictions, examples), examples)


def _measures(sets: _Sets, examples: Dataset) -> dict[str, Measured]:
    counts, ids = _counts(sets), examples["id"][:]
    micro = counts.sum(axis=1) + np.nan_to_num(sets.others)[:, None] * [0, 1, 0]
    exact = (sets.gold == sets.found).all(axis=1) & (sets.others == 0)
    pairs, owners = _pairs(sets), [example_id for example_id in ids for _ in sets.labels]
    gold, logits = pairs
    return {
        "micro_f1": Measured(Sums(micro, f1_of_counts), ids),
        "macro_f1": Measured(Sums(counts.reshape(len(ids), -1), _macro_f1), ids),
        "subset_accuracy": Measured(mean_of(exact), ids),
        "macro_average_precision": Measured(Pairs(gold, logits[:, None], macro_average_precision), owners),
        "micro_average_precision": Measured(Pairs(gold % 2, logits[:, None], macro_average_precision), owners),
    }


def _sets(predictions: Sequence[Prediction], examples: Dataset) -> _Sets:
    labels = label_sets.all_labels(examples)
    number_of = {label: number for number, label in enumerate(labels)}
    shape = (len(examples), len(labels))
    gold, found, others = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(len(examples))
    logits = np.full(shape, -np.inf)
    for row, (text, prediction) in enumerate(zip(examples["label"][:], by_id(predictions, examples), strict=True)):
        gold[row, [number_of[label] for label in label_sets.parts(text)]] = True
        if prediction is None:
            others[row] = np.nan
            continue
        given = label_sets.parts(prediction.text)
        known = [number_of[label] for label in given if label in number_of]
        found[row, known], others[row] = True, len(given) - len(known)
        logits[row] = np.where(found[row], 1.0, -1.0)
        for candidate in prediction.candidates:
            if candidate.text in number_of:
                logits[row, number_of[candidate.text]] = candidate.score
    complete = all(prediction.candidates for prediction in predictions)
    return _Sets(labels, gold, found, others, logits, complete)


def _counts(sets: _Sets) -> Array:
    """[examples, labels, 3]: whether a label is right, predicted, and gold."""
    found: Array = np.stack([sets.gold & sets.found, sets.found, sets.gold], axis=-1).astype(np.float64)
    return found


def _pairs(sets: _Sets) -> tuple[Array, Array]:
    """Every pair of an example and a label: twice the label's number, plus 1 if it is gold; and its logit."""
    return (2 * np.arange(len(sets.labels)) + sets.gold).ravel(), sets.logits.ravel()


def _macro_f1(sums: Array) -> Array:
    """The mean F1, [...], over labels that occur or are predicted, from sums [..., 3 × labels]."""
    counts = sums.reshape(*sums.shape[:-1], -1, 3)
    present = counts[..., 1] + counts[..., 2] > 0
    found: Array = f1_of_counts(counts).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    return found


def _scores(counts: Array) -> dict[str, Any]:
    right, predicted, gold = counts.tolist()
    return {
        "f1": float(f1_of_counts(counts)),
        "precision": 100 * right / predicted if predicted else 0.0,
        "recall": 100 * right / gold if gold else 0.0,
        "support": int(gold),
    }


def _tuned(sets: _Sets, examples: Dataset) -> dict[str, Any] | None:
    # Split by a hash of the text: the halves do not depend on the order of the data, and a text is not in both.
    texts = zip(examples["text"][:], examples["pair"][:], strict=True)
    half = np.array([hashlib.sha256("\0".join(map(str, text)).encode()).digest()[0] % 2 for text in texts], bool)
    if not sets.complete or half.all() or not half.any():
        return None
    with np.errstate(over="ignore"):
        probabilities = 1 / (1 + np.exp(-sets.logits))
    limits = np.array(
        [best_f1_threshold(sets.gold[~half, n], probabilities[~half, n]) for n in range(len(sets.labels))]
    )

    def report(part: Array, at: Array | float) -> dict[str, Any]:
        its = replace(sets, gold=sets.gold[part], found=probabilities[part] > at)
        counts = _counts(its).sum(axis=0)
        return {
            "micro_f1": float(f1_of_counts(counts.sum(axis=0))),
            "macro_f1": float(_macro_f1(counts.ravel())),
            "total": int(part.sum()),
        }

    return {
        "thresholds": dict(zip(sets.labels, limits.tolist(), strict=True)),
        "tuned_on": report(~half, limits),
        "reported_on": report(half, limits),
        "untuned": report(half, 0.5),
    }
