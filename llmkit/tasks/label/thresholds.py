"""Choose the probability above which a label is given."""

from __future__ import annotations

import numpy as np

from llmkit.tasks.values import Array

HALF = 0.5


def best_f1_threshold(gold: Array, probabilities: Array) -> float:
    """The threshold with the best F1 of one label, if it is given whenever its probability is above the threshold.

    Both arguments are [examples]. The search is exact: it tries every cut between distinct probabilities, each in the
    middle, so that rounding carries no example across. Of equally good cuts the one nearest to 0.5 is taken, and 0.5 if
    the label never occurs. Do not report scores on the examples that it was tuned on: they are too good.
    """
    if not gold.any():
        return HALF
    order = np.argsort(-probabilities, kind="stable")
    values, right = probabilities[order], np.cumsum(gold[order])
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # the last example that is given, for each cut
    scores = 2 * right[ends] / (ends + 1 + gold.sum())
    below = np.append(values[ends[:-1] + 1], 0.0)
    cuts = (values[ends] + below) / 2
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(cuts[best[np.argmin(np.abs(cuts[best] - HALF))]])
