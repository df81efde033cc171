"""Scores of labels that follow from counts: how often each gold label met each predicted one.

To draw examples anew is to draw these counts anew, so every score has its 95 % interval at the price of a thousand
small matrices: milliseconds, where a library that is called a thousand times takes seconds at every evaluation.

Counts are [..., gold, predicted]; the last label is no label, and stands for a prediction that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Score = Callable[[Array], Array]

RESAMPLES = 1000
MANY = 50  # labels; the counts of more are no longer small, and no interval is given


def counts_of(gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> Array:
    """Counts of the labels of examples; None is a prediction that is missing."""
    number_of: dict[str | None, int] = {label: number for number, label in enumerate([*labels, None])}
    counts = np.zeros((len(number_of), len(number_of)))
    np.add.at(counts, ([number_of[label] for label in gold], [number_of[label] for label in predicted]), 1)
    return counts


def drawn_anew(counts: Array) -> Array | None:
    """Counts of a thousand draws of as many examples, [1000, gold, predicted]; None where labels are too many."""
    if counts.shape[0] > MANY + 1:
        return None
    total = int(counts.sum())
    drawn = np.random.default_rng(0).multinomial(total, counts.ravel() / total, RESAMPLES)
    return drawn.reshape(RESAMPLES, *counts.shape)


def accuracy(counts: Array) -> Array:
    """The share of examples whose label was predicted."""
    found: Array = np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))
    return found


def f1_by_label(counts: Array) -> Array:
    """F1 of every label; 0 where it neither occurs nor is predicted."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(axis=-1) + counts.sum(axis=-2)
    found: Array = np.divide(2 * right, either, out=np.zeros(right.shape), where=either > 0)
    return found


def f1(counts: Array) -> Array:
    """F1 of the second label: of two, GLUE's labels 0 and 1, the positive one."""
    found: Array = f1_by_label(counts)[..., 1]
    return found


def macro_f1(counts: Array) -> Array:
    """The mean of F1 over labels that occur or are predicted."""
    here = (counts.sum(axis=-1) + counts.sum(axis=-2)) > 0
    here[..., -1] = False
    found: Array = (f1_by_label(counts) * here).sum(axis=-1) / here.sum(axis=-1)
    return found


def matthews_correlation(counts: Array) -> Array:
    """The Matthews correlation of any number of labels; 0 where only one occurs or is predicted."""
    total, right = counts.sum(axis=(-2, -1)), np.trace(counts, axis1=-2, axis2=-1)
    gold, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    above = right * total - (gold * predicted).sum(axis=-1)
    below = np.sqrt(total**2 - (gold**2).sum(axis=-1)) * np.sqrt(total**2 - (predicted**2).sum(axis=-1))
    found: Array = np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)
    return found


def combined_score(counts: Array) -> Array:
    """The mean of accuracy and F1."""
    return (accuracy(counts) + f1(counts)) / 2


SCORES: dict[str, Score] = {
    score.__name__: score for score in (accuracy, f1, macro_f1, matthews_correlation, combined_score)
}
