"""Confidence intervals of scores by cluster bootstrap: how much a score would vary on other paragraphs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmkit.tasks.measures import Measure, Measured, mean_of
from llmkit.tasks.values import Array

RESAMPLES = 1000
_MOST_WEIGHTS = 2**20  # in memory at a time: 8 MB


def interval(
    measure: Measure, groups: Sequence[Hashable], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> list[float] | None:
    """The percentile bootstrap interval [low, high] of a score, resampling whole groups.

    `groups` names each example's group: a question's paragraph (or article). Questions on one paragraph are not
    independent, so resampling questions gives intervals that are too narrow. A resample draws as many groups as there
    are, with replacement. Its score is that of all their examples, so large groups weigh more, as they do in the score
    itself.

    Returns None if there is only one group, since one group shows no variation between groups. (None is null in JSON;
    NaN is not valid JSON.) With fewer than about 30 groups, percentile intervals are somewhat too narrow.

    The same examples, groups and seed give the same interval, bit for bit, regardless of the order of the examples and
    the names of the groups. Raises ValueError if there are no examples, or if `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    scores = resampled(measure, groups, resamples=resamples, seed=seed)
    if scores is None:
        return None
    tail = (1 - level) / 2
    return [float(end) for end in np.quantile(scores, (tail, 1 - tail))]


def resampled(measure: Measure, groups: Sequence[Hashable], *, resamples: int, seed: int) -> Array | None:
    """The scores of resamples, [resamples]; None if there is only one group."""
    measure, member = measure.by_group(group_numbers(groups))
    number = int(member.max()) + 1
    if number == 1:
        return None
    generator = np.random.default_rng(seed)
    found = []
    for some in at_once(number, resamples):
        drawn = generator.integers(number, size=(some, number)) + number * np.arange(some)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=some * number).reshape(some, number).astype(np.float64)
        found.append(measure.at(weights[:, member]))
    return np.concatenate(found)


def percent_interval(values: npt.ArrayLike, groups: Sequence[Hashable]) -> list[float] | None:
    """The `interval` of the mean of scores from 0 to 1, in percent."""
    return interval(mean_of(values), groups)


def intervals_of(found: Mapping[str, Measured]) -> dict[str, Any]:
    """The `interval` of each measure, as `NAME_interval`."""
    return {f"{name}_interval": interval(one.measure, one.groups) for name, one in found.items()}


def scores_of(found: Mapping[str, Measured]) -> dict[str, Any]:
    """The score of each measure, and its interval."""
    values = {name: float(one.measure.at(np.ones((1, len(one.groups))))[0]) for name, one in found.items()}
    return {**values, **intervals_of(found)}


def at_once(groups: int, resamples: int) -> Iterator[int]:
    """How many resamples to compute at a time."""
    most = max(1, _MOST_WEIGHTS // groups)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def group_numbers(groups: Sequence[Hashable]) -> Array:
    """The group number of each example; groups are numbered in order of appearance."""
    if not len(groups):
        raise ValueError("no examples to resample")
    code_of: dict[Hashable, int] = {}
    return np.fromiter((code_of.setdefault(group, len(code_of)) for group in groups), np.intp, len(groups))
