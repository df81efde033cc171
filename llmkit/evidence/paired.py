"""Is one system better than another on the same examples? A paired bootstrap, and approximate randomization.

The bootstrap (Efron and Tibshirani 1993; for systems Koehn 2004, Berg-Kirkpatrick et al. 2012) draws groups of examples
with replacement, the same for both systems: how much would the difference vary on other examples? Randomization (Noreen
1989) swaps the two systems' predictions of a group by a coin: how large would the difference be if it did not matter
which system a prediction comes from? Examples of a group (questions on one paragraph) are drawn and swapped together.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmkit.tasks.bootstrap import at_once, group_numbers, resampled
from llmkit.tasks.measures import Measure
from llmkit.tasks.values import Array

RESAMPLES = 5000
_ROUNDING = 1e-9  # by which sums in another order may differ


@dataclass(frozen=True)
class Difference:
    """How much the first system's score is above the second's, in the unit of the score.

    interval        its 95 % interval
    bootstrap       two-sided p-value of the paired bootstrap
    randomization   two-sided p-value of approximate randomization; None for numbers of runs that differ

    All three are None if there is only one group.
    """

    value: float
    interval: list[float] | None = None
    bootstrap: float | None = None
    randomization: float | None = None


def difference(
    first: Measure, second: Measure, groups: Sequence[Hashable], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Compare two systems, whose measures are of the same examples in the same order; `groups` names each one's group.
    A system may be the mean of several runs.

    The same examples, groups and seed give the same result, bit for bit, whatever their order and names.
    """
    measure = first.beside(second, -1.0)
    value = float(measure.at(np.ones((1, len(groups))))[0])
    drawn = resampled(measure, groups, resamples=resamples, seed=seed)
    if drawn is None:
        return Difference(value)
    randomization = None
    if len(first.factors) == len(second.factors):
        swapped = _swapped(measure, groups, resamples, seed)
        randomization = _share(np.abs(swapped) >= abs(value) - _ROUNDING)
    return replace(bootstrapped(value, drawn), randomization=randomization)


def bootstrapped(value: float, drawn: Array) -> Difference:
    """A difference, given those of resamples, [resamples]."""
    low, high = np.quantile(drawn, (0.025, 0.975))
    below, above = _share(drawn <= _ROUNDING), _share(drawn >= -_ROUNDING)
    return Difference(value, [float(low), float(high)], min(1.0, 2 * min(below, above)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (1979) for several comparisons: p-values in the same order, none smaller than before."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = highest
    return adjusted


def _swapped(measure: Measure, groups: Sequence[Hashable], resamples: int, seed: int) -> Array:
    """The differences [resamples] where a coin decides for each group which system is the first."""
    measure, member = measure.by_group(group_numbers(groups))
    number, both = int(member.max()) + 1, measure.or_swapped()
    generator = np.random.default_rng(seed)
    found = []
    for some in at_once(number, resamples):
        kept = generator.integers(2, size=(some, number)).astype(np.float64)[:, member]
        found.append(both.at(np.hstack([kept, 1 - kept])))
    return np.concatenate(found)


def _share(events: Array) -> float:
    """The share of resamples with an event. What was observed counts as one of them, so it is never 0."""
    return float((events.sum() + 1) / (len(events) + 1))
