"""Confidence intervals of scores by cluster bootstrap: how much a score would vary on other paragraphs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

_MAX_DRAWS = 1 << 20  # draws in memory at a time: 8 MB of indices and 16 MB of gathered sums


def cluster_interval(
    values: npt.ArrayLike,
    groups: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean of `values`, resampling whole groups.

    `values` is [questions], one score per question; `groups` names each question's paragraph (or article).
    Questions on one paragraph are not independent, so resampling questions gives intervals that are too narrow.
    A resample draws as many groups as there are, with replacement. Its statistic is the mean over all their
    questions, so large groups weigh more, as they do in the score itself.

    Returns (low, high) in the unit of `values`, or None if there is only one group, since one group shows no
    variation between groups. (None is null in JSON; NaN is not valid JSON.) With fewer than about 30 groups,
    percentile intervals are somewhat too narrow.

    The same values, groups and seed give the same interval, bit for bit, regardless of the order of the
    questions and the names of the groups. Raises ValueError if there are no questions, if the lengths differ,
    or if `level` is not between 0 and 1.
    """
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or scores.size == 0 or scores.size != len(groups):
        raise ValueError(f"expected one group per value, and at least one value; got {scores.shape} and {len(groups)}")
    _check_level(level)

    sums, counts = _group_totals(scores, groups)
    if sums.size == 1:
        return None
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, _MAX_DRAWS // sums.size)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = generator.integers(sums.size, size=(stop - start, sums.size))
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return _percentiles(means, level)


def percent_interval(values: npt.ArrayLike, groups: Sequence[Hashable]) -> list[float] | None:
    """The `cluster_interval` of scores from 0 to 1 as [low, high] in percent; None if there is only one group."""
    interval = cluster_interval(values, groups)
    return [100 * end for end in interval] if interval else None


def corpus_interval(
    score: Callable[[npt.NDArray[np.intp]], float],
    groups: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The interval of a score that is not a mean over examples (BLEU, Matthews, entity F1, a correlation).

    `score` maps the example indices of one resample, [examples drawn] with repeats, to the finite score of these
    examples. It is called `resamples` times, so count once per example beforehand and only sum the counts in
    `score`: `lambda rows: f1_of_counts(counts[rows].sum(axis=0))`.

    Draws groups and returns (low, high) or None like `cluster_interval`, but the order of the examples matters:
    the same order and seed give the same interval.
    """
    _check_level(level)
    if not len(groups):
        raise ValueError("no examples to resample")
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
        # An example's position in `order` is its group's start plus its position within the group.
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
    """The group number of each example; groups are numbered in order of appearance."""
    code_of: dict[Hashable, int] = {}
    return np.fromiter((code_of.setdefault(group, len(code_of)) for group in groups), np.intp, len(groups))


def _group_totals(
    scores: npt.NDArray[np.float64], groups: Sequence[Hashable]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The sum and count of the scores of each group, in an order that depends on these numbers alone.

    Sorting within and between groups makes the interval independent of the order of the questions: floating-point
    sums are always added in the same order, and group i is always the same group.
    """
    codes = _codes(groups)
    order = np.lexsort((scores, codes))
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(scores[order], starts)
    canonical = np.lexsort((sums, counts))
    return sums[canonical], counts[canonical].astype(np.float64)
