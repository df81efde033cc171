"""Correlations of predicted numbers with gold ones: Pearson's, Spearman's, and their mean."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

RESAMPLES = 1000


def correlations(gold: Array, predicted: Array) -> dict[str, float]:
    """`pearson`, `spearmanr` and their mean, `combined_score`; the names are those of evaluate's GLUE metric."""
    pearson, spearman = correlation(gold, predicted), correlation(ranks(gold), ranks(predicted))
    return {"pearson": pearson, "spearmanr": spearman, "combined_score": (pearson + spearman) / 2}


def drawn_anew(gold: Array, predicted: Array) -> dict[str, Array]:
    """The correlations of a thousand draws of as many examples."""
    rows = np.random.default_rng(0).integers(len(gold), size=(RESAMPLES, len(gold)))
    found = [correlations(gold[some], predicted[some]) for some in rows]
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def correlation(a: Array, b: Array) -> float:
    """Pearson's correlation; 0 where one of the two does not vary, which leaves it undefined."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Array = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return found
