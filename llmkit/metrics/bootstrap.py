"""How far a score would move on other paragraphs: a cluster bootstrap interval."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

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
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")

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
    tail = (1 - level) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def _group_totals(
    scores: npt.NDArray[np.float64], groups: Sequence[Hashable]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum and count of the scores of each group, in an order that depends on these numbers alone.

    Sorting inside and between groups is what makes the interval independent of the order of the questions:
    floating-point sums are taken in one order, and a draw of group i means the same group.
    """
    code_of: dict[Hashable, int] = {}
    codes = np.fromiter((code_of.setdefault(group, len(code_of)) for group in groups), np.intp, len(groups))
    order = np.lexsort((scores, codes))
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(scores[order], starts)
    canonical = np.lexsort((sums, counts))
    return sums[canonical], counts[canonical].astype(np.float64)
