"""How far a score would move on other paragraphs: cluster bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

_DRAWS_AT_ONCE = 1 << 20  # draws held in memory together: 8 MB of indices, twice that of gathered sums


def cluster_interval(
    values: npt.ArrayLike,
    groups: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean of `values`, resampling whole groups.

    `values` is [questions], the score of each; `groups` names the paragraph (or article) of each. Questions
    on one paragraph succeed and fail together, so an interval that resamples questions is too narrow. A
    resample draws as many groups as there are, with replacement, and its statistic is the mean over all their
    questions: groups of many questions weigh more, as they do in the score itself.

    Returns (low, high) in the unit of `values`, or None when there is only one group: the spread between
    groups can't be seen in one, and a number would claim otherwise. (None is null in JSON; NaN is no JSON.)
    With fewer than some 30 groups percentile intervals are still somewhat too narrow.

    The same values, groups and seed give the same interval to the last bit, whatever the order of the
    questions and the names of the groups. Raises ValueError when there are no questions, the lengths differ
    or `level` is not between 0 and 1.
    """
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or scores.size == 0 or scores.size != len(groups):
        raise ValueError(f"one group per value needed, at least 1; got {scores.shape} and {len(groups)}")
    _check_level(level)

    sums, counts = _group_totals(scores, groups)
    if sums.size == 1:
        return None
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, _DRAWS_AT_ONCE // sums.size)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = generator.integers(sums.size, size=(stop - start, sums.size))
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return _percentiles(means, level)


def corpus_interval(
    score: Callable[[npt.NDArray[np.intp]], float],
    groups: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The interval of a score that is no mean over examples (BLEU, Matthews, entity F1, a correlation).

    `score` is given the indices [examples drawn] of one resample, an example as often as it was drawn, and
    returns the finite score of these examples. It is called `resamples` times, so let it add up what was
    counted of each example once: `lambda rows: f1_of_counts(counts[rows].sum(axis=0))`.

    Groups are drawn as in `cluster_interval`, and (low, high) or None means the same. The order of the
    examples decides what is drawn; the same order and seed give the same interval.
    """
    _check_level(level)
    if not len(groups):
        raise ValueError("no example to draw from")
    codes = _codes(groups)
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    if counts.size == 1:
        return None
    starts = np.cumsum(counts) - counts
    generator = np.random.default_rng(seed)
    scores = np.empty(resamples)
    for i in range(resamples):
        drawn = generator.integers(counts.size, size=counts.size)
        sizes = counts[drawn]
        # Where each example drawn stands in `order`: its place in its group, after the group's start.
        shift = starts[drawn] - (np.cumsum(sizes) - sizes)
        scores[i] = score(order[np.repeat(shift, sizes) + np.arange(sizes.sum())])
    return _percentiles(scores, level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def _percentiles(scores: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(scores, (tail, 1 - tail))
    return float(low), float(high)


def _codes(groups: Sequence[Hashable]) -> npt.NDArray[np.intp]:
    """The groups numbered in order of appearance, of each example."""
    code_of: dict[Hashable, int] = {}
    return np.fromiter((code_of.setdefault(group, len(code_of)) for group in groups), np.intp, len(groups))


def _group_totals(
    scores: npt.NDArray[np.float64], groups: Sequence[Hashable]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum and count of the scores of each group, in an order that depends on these numbers alone.

    Sorting inside and between groups is what makes the interval independent of the order of the questions:
    floating-point sums are taken in one order, and a draw of group i means the same group.
    """
    codes = _codes(groups)
    order = np.lexsort((scores, codes))
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(scores[order], starts)
    canonical = np.lexsort((sums, counts))
    return sums[canonical], counts[canonical].astype(np.float64)
