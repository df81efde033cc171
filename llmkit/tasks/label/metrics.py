"""Metrics of classification, computed from counts by label, and of regression.

The counts are [3, labels + 1]: how many examples of each label there are, how many were predicted to be, and how many
of these are correct. The last label stands for a missing prediction. A bootstrap scores a thousand resamples: from
counts that takes a fraction of a second; calling scikit-learn a thousand times takes seconds per score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from llmkit.tasks.measures import Measure, Pairs
from llmkit.tasks.values import Array

Metric = Callable[[Array], float]
GOLD, PREDICTED, CORRECT = range(3)
_MISSING = ""  # the label of a missing prediction: no label is empty


def measure_of_labels(
    gold: Sequence[str], predicted: Sequence[str | None], names: Sequence[str], metric: Metric
) -> Measure:
    """The measure, in percent, of a metric of counts. `names` are the first labels in the counts; None is a missing
    prediction."""

    def score(gold: Array, found: Array, weights: Array) -> Array:
        (theirs, ours), labels = _numbered(gold, found, names)
        return np.array([100 * metric(_counts(theirs, ours, row, labels)) for row in weights])

    return Pairs(
        np.array(gold, str),
        np.array([_MISSING if label is None else label for label in predicted], str)[:, None],
        score,
    )


def _numbered(gold: Array, found: Array, names: Sequence[str]) -> tuple[tuple[Array, Array], int]:
    """Gold and found labels as numbers, and how many labels there are: `names`, others in order, and none."""
    labels, numbers = np.unique(np.concatenate([gold, found]), return_inverse=True)
    others = [label for label in labels.tolist() if label not in names and label != _MISSING]
    place = {label: number for number, label in enumerate([*names, *others, _MISSING])}
    placed = np.array([place[label] for label in labels.tolist()])[numbers]
    return (placed[: len(gold)], placed[len(gold) :]), len(place)


def _counts(gold: Array, found: Array, weights: Array, labels: int) -> Array:
    """The counts [3, labels] of label numbers, of examples that count `weights` times."""
    right = weights * (gold == found)
    return np.stack(
        [np.bincount(of, times, labels) for of, times in ((gold, weights), (found, weights), (found, right))]
    )


def accuracy(counts: Array) -> float:
    """The share of correct predictions."""
    return float(counts[CORRECT].sum() / counts[GOLD].sum())


def f1_by_label(counts: Array) -> Array:
    """F1 of each label, [labels + 1]; 0 if a label neither occurs nor is predicted."""
    both = counts[GOLD] + counts[PREDICTED]
    found: Array = np.divide(2 * counts[CORRECT], both, out=np.zeros(len(both)), where=both > 0)
    return found


def f1(counts: Array) -> float:
    """F1 of the second label: the positive class of GLUE's binary tasks."""
    return float(f1_by_label(counts)[1])


def macro_f1(counts: Array) -> float:
    """The mean F1 over all labels that occur or are predicted."""
    present = (counts[GOLD] + counts[PREDICTED])[:-1] > 0
    return float(f1_by_label(counts)[:-1][present].mean()) if present.any() else 0.0


def matthews_correlation(counts: Array) -> float:
    """The Matthews correlation, for any number of labels; 0 if only one label occurs or is predicted."""
    gold, predicted, correct = counts[GOLD], counts[PREDICTED], counts[CORRECT].sum()
    total = gold.sum()
    spread = (total**2 - (gold**2).sum()) * (total**2 - (predicted**2).sum())
    return float((correct * total - gold @ predicted) / np.sqrt(spread)) if spread > 0 else 0.0


def combined_score(counts: Array) -> float:
    """The mean of accuracy and F1."""
    return (accuracy(counts) + f1(counts)) / 2


METRICS: dict[str, Metric] = {
    metric.__name__: metric for metric in (accuracy, f1, macro_f1, matthews_correlation, combined_score)
}


def number_metrics(gold: Array, predicted: Array) -> dict[str, float]:
    """Scores of predicted numbers as fractions, and the mean squared error, `mse`.

    `pearson`, `spearmanr` and their mean, `combined_score`, have the names of evaluate's GLUE metric. `r2` is the share
    of the variance that is explained: 1 - mse / variance of `gold`; 0 if `gold` is constant.
    """
    return {name: metric(gold, predicted) for name, metric in NUMBER_METRICS.items()}


def measure_of_numbers(gold: Array, predicted: Array, name: str) -> Measure:
    """The measure of a metric of numbers: in percent, but `mse` in their squared unit."""
    metric, unit = NUMBER_METRICS[name], 1 if name == "mse" else 100

    def score(gold: Array, found: Array, weights: Array) -> Array:
        each = (row.astype(int) for row in weights)
        return np.array([unit * metric(np.repeat(gold, times), np.repeat(found, times)) for times in each])

    return Pairs(gold, predicted[:, None], score)


def _pearson(a: Array, b: Array) -> float:
    """Pearson's correlation; 0 if `a` or `b` is constant, where it is undefined."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _spearman(a: Array, b: Array) -> float:
    return _pearson(_ranks(a), _ranks(b))


def _r2(gold: Array, predicted: Array) -> float:
    variance = float(gold.var())
    return 1 - _mse(gold, predicted) / variance if variance > 0 else 0.0


def _mse(gold: Array, predicted: Array) -> float:
    return float(np.square(predicted - gold).mean())


def _ranks(values: Array) -> Array:
    """Ranks from 1; equal values share their mean rank."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Array = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    return found


NUMBER_METRICS: dict[str, Callable[[Array, Array], float]] = {
    "pearson": _pearson,
    "spearmanr": _spearman,
    "combined_score": lambda gold, predicted: (_pearson(gold, predicted) + _spearman(gold, predicted)) / 2,
    "r2": _r2,
    "mse": _mse,
}
