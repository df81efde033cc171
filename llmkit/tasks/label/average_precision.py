"""Average precision: the mean precision over the thresholds at which each gold example is found, as in scikit-learn."""

from __future__ import annotations

import numpy as np

from llmkit.tasks.values import Array


def average_precision(codes: Array, scores: Array, weights: Array) -> Array:
    """The average precision of each label, [R, labels], from 0 to 1; NaN if it does not occur.

    `codes` [pairs] are twice the number of a pair's label, plus 1 if the label is gold; `scores` [pairs] say how sure a
    system is of it, and pair i counts `weights[:, i]` times in each of R resamples. Equal scores are one threshold.
    """
    labels = codes // 2
    found = np.full((len(weights), int(labels.max(initial=-1)) + 1), np.nan)
    for label in range(found.shape[1]):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        found[:, label] = _of_one(codes[rows] % 2 == 1, scores[rows], weights[:, rows])
    return found


def _of_one(gold: Array, scores: Array, weights: Array) -> Array:
    """The average precision [R] of one label, whose pairs are in the order of their scores, the highest first."""
    thresholds = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # the last pair above each
    places = np.flatnonzero(gold)
    if not len(places):
        return np.full(len(weights), np.nan)
    # Only thresholds that find gold pairs count, and of the sums of weights up to each of them two are needed.
    reached, first = np.unique(np.searchsorted(thresholds, places), return_index=True)
    ends = thresholds[reached]
    given = np.add.reduceat(weights[:, : ends[-1] + 1], np.append(0, ends[:-1] + 1), axis=1).cumsum(axis=1)
    each = np.add.reduceat(weights[:, places], first, axis=1)
    precision = np.divide(each.cumsum(axis=1), given, out=np.zeros_like(each), where=given > 0)
    total = each.sum(axis=1)
    found: Array = np.divide((each * precision).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
    return found


def macro_average_precision(codes: Array, scores: Array, weights: Array) -> Array:
    """The mean average precision over the labels that occur, in percent: [R]; 0 if none does."""
    each = average_precision(codes, scores, weights)
    occurs = ~np.isnan(each)
    found: Array = 100 * np.where(occurs, each, 0.0).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)
    return found
