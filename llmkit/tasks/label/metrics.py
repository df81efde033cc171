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
    once = np.ones((1, len(gold)))
    return {name: float(metric(gold, predicted, once)[0]) for name, metric in NUMBER_METRICS.items()}


def measure_of_numbers(gold: Array, predicted: Array, name: str) -> Measure:
    """The measure of a metric of numbers: in percent, but `mse` in their squared unit."""
    metric, unit = NUMBER_METRICS[name], 1 if name == "mse" else 100
    return Pairs(gold, predicted[:, None], lambda gold, found, weights: unit * metric(gold, found, weights))


def _pearson(gold: Array, found: Array, weights: Array) -> Array:
    return _correlations(gold, found, weights)


def _spearman(gold: Array, found: Array, weights: Array) -> Array:
    return _correlations(_ranks(gold, weights), _ranks(found, weights), weights)


def _combined(gold: Array, found: Array, weights: Array) -> Array:
    return (_pearson(gold, found, weights) + _spearman(gold, found, weights)) / 2


def _mse(gold: Array, found: Array, weights: Array) -> Array:
    return _means(np.square(found - gold), weights)


def _r2(gold: Array, found: Array, weights: Array) -> Array:
    variance = _variances(gold, _centered(gold, weights), weights)
    return _ratio(variance - _mse(gold, found, weights), variance)


def _correlations(a: Array, b: Array, weights: Array) -> Array:
    """Pearson's correlation, [R], of numbers [n] or [R, n]; 0 if one is constant, where it is undefined."""
    from_a, from_b = _centered(a, weights), _centered(b, weights)
    spread = np.sqrt(_variances(a, from_a, weights) * _variances(b, from_b, weights))
    return _ratio(_covariances(from_a, from_b, weights), spread)


def _centered(values: Array, weights: Array) -> Array:
    """Values [n] or [R, n] minus their means: [R, n]."""
    found: Array = values - _means(values, weights)[:, None]
    return found


def _variances(values: Array, centered: Array, weights: Array) -> Array:
    """The variances [R] of values [n] or [R, n]; 0 for constant ones, not what rounding leaves of them."""
    found = _covariances(centered, centered, weights)
    found[found <= (1e-14 * np.abs(values).max()) ** 2] = 0
    return found


def _covariances(a: Array, b: Array, weights: Array) -> Array:
    """The means [R] of products of centered values [R, n]."""
    found: Array = np.einsum("rn,rn,rn->r", weights, a, b) / weights.sum(axis=1)
    return found


def _means(values: Array, weights: Array) -> Array:
    """The means [R] of values [n] or [R, n]."""
    sums = weights @ values if values.ndim == 1 else np.einsum("rn,rn->r", weights, values)
    found: Array = sums / weights.sum(axis=1)
    return found


def _ratio(of: Array, to: Array) -> Array:
    """Quotients; 0 where the divisor is 0."""
    found: Array = np.divide(of, to, out=np.zeros(len(of)), where=to > 0)
    return found


def _ranks(values: Array, weights: Array) -> Array:
    """Ranks from 1, [R, n], where each value [n] occurs `weights` [R, n] times; equal values share their mean rank."""
    order = np.argsort(values, kind="stable")
    _, starts, codes = np.unique(values[order], return_index=True, return_inverse=True)
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    found = np.empty_like(weights)
    found[:, order] = (np.cumsum(counts, axis=1) - (counts - 1) / 2)[:, codes]
    return found


NUMBER_METRICS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "pearson": _pearson,
    "spearmanr": _spearman,
    "combined_score": _combined,
    "r2": _r2,
    "mse": _mse,
}
