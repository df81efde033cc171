"""Metrics of classification, computed from confusion matrices, and of regression.

Resampling examples is the same as resampling the entries of their confusion matrix, so a thousand bootstrap resamples
are a thousand small matrices. That takes milliseconds; calling scikit-learn a thousand times takes seconds per score.

A confusion matrix is [..., gold, predicted]. Its last row and column stand for a missing prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from llmkit.tasks.values import Array

Metric = Callable[[Array], Array]

RESAMPLES = 1000
MAX_LABELS = 50  # matrices of more labels are too large to resample, so there is no interval


def confusion_matrix(gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> Array:
    """Counts [labels + 1, labels + 1] of gold and predicted labels; None is a missing prediction."""
    number_of: dict[str | None, int] = {label: number for number, label in enumerate([*labels, None])}
    matrix = np.zeros((len(number_of), len(number_of)))
    np.add.at(matrix, ([number_of[label] for label in gold], [number_of[label] for label in predicted]), 1)
    return matrix


def resampled_matrices(matrix: Array) -> Array | None:
    """Bootstrap resamples of a confusion matrix, [RESAMPLES, gold, predicted]; None for more than MAX_LABELS labels."""
    if matrix.shape[0] > MAX_LABELS + 1:
        return None
    total = int(matrix.sum())
    drawn = np.random.default_rng(0).multinomial(total, matrix.ravel() / total, RESAMPLES)
    return drawn.reshape(RESAMPLES, *matrix.shape)


def accuracy(matrix: Array) -> Array:
    """The share of correct predictions."""
    found: Array = np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1))
    return found


def f1_by_label(matrix: Array) -> Array:
    """F1 of each label, [..., labels + 1]; 0 if a label neither occurs nor is predicted."""
    correct = np.diagonal(matrix, axis1=-2, axis2=-1)
    gold_and_predicted = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    found: Array = np.divide(2 * correct, gold_and_predicted, out=np.zeros(correct.shape), where=gold_and_predicted > 0)
    return found


def f1(matrix: Array) -> Array:
    """F1 of the second label: the positive class of GLUE's binary tasks."""
    found: Array = f1_by_label(matrix)[..., 1]
    return found


def macro_f1(matrix: Array) -> Array:
    """The mean F1 over all labels that occur or are predicted."""
    present = (matrix.sum(axis=-1) + matrix.sum(axis=-2)) > 0
    present[..., -1] = False
    found: Array = (f1_by_label(matrix) * present).sum(axis=-1) / present.sum(axis=-1)
    return found


def matthews_correlation(matrix: Array) -> Array:
    """The Matthews correlation, for any number of labels; 0 if only one label occurs or is predicted."""
    total, correct = matrix.sum(axis=(-2, -1)), np.trace(matrix, axis1=-2, axis2=-1)
    gold, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    numerator = correct * total - (gold * predicted).sum(axis=-1)
    denominator = np.sqrt(total**2 - (gold**2).sum(axis=-1)) * np.sqrt(total**2 - (predicted**2).sum(axis=-1))
    found: Array = np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=denominator > 0)
    return found


def combined_score(matrix: Array) -> Array:
    """The mean of accuracy and F1."""
    return (accuracy(matrix) + f1(matrix)) / 2


METRICS: dict[str, Metric] = {
    metric.__name__: metric for metric in (accuracy, f1, macro_f1, matthews_correlation, combined_score)
}


def number_metrics(gold: Array, predicted: Array) -> dict[str, float]:
    """Scores of predicted numbers as fractions, and the mean squared error, `mse`.

    `pearson`, `spearmanr` and their mean, `combined_score`, have the names of evaluate's GLUE metric. `r2` is the share
    of the variance that is explained: 1 - mse / variance of `gold`; 0 if `gold` is constant.
    """
    return _number_metrics(gold, predicted, _ranks(_codes(gold)), _ranks(_codes(predicted)))


def _number_metrics(gold: Array, predicted: Array, gold_ranks: Array, predicted_ranks: Array) -> dict[str, float]:
    pearson, spearman = _pearson(gold, predicted), _pearson(gold_ranks, predicted_ranks)
    mse, variance = float(np.square(predicted - gold).mean()), float(gold.var())
    return {
        "pearson": pearson,
        "spearmanr": spearman,
        "combined_score": (pearson + spearman) / 2,
        "r2": 1 - mse / variance if variance > 0 else 0.0,
        "mse": mse,
    }


def resampled_numbers(gold: Array, predicted: Array) -> dict[str, Array]:
    """`number_metrics` of bootstrap resamples, by name: [RESAMPLES]."""
    rows = np.random.default_rng(0).integers(len(gold), size=(RESAMPLES, len(gold)))
    gold_codes, predicted_codes = _codes(gold), _codes(predicted)
    found = [
        _number_metrics(gold[drawn], predicted[drawn], _ranks(gold_codes[drawn]), _ranks(predicted_codes[drawn]))
        for drawn in rows
    ]
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def _pearson(a: Array, b: Array) -> float:
    """Pearson's correlation; 0 if `a` or `b` is constant, where it is undefined."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _codes(values: Array) -> Array:
    """Each value's number among the distinct values, in order. A resample of codes needs no sorting to be ranked."""
    found: Array = np.unique(values, return_inverse=True)[1]
    return found


def _ranks(codes: Array) -> Array:
    """Ranks from 1 of values with these codes; equal values share their mean rank."""
    counts = np.bincount(codes)
    found: Array = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    return found
