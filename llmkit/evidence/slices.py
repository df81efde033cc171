"""Scores by slice, and which slices are worse than the rest by more than chance.

A bootstrap draws groups of rows, as for the interval of the score. Slice and rest are scored on the same draws, since a
group (a passage) may have rows in both. The p-value is that of a normal distribution with the bootstrap's standard
error: shares of a thousand draws are too coarse for Holm's correction of dozens of slices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmkit.evidence.paired import holm
from llmkit.tasks.bootstrap import RESAMPLES, at_once, group_numbers
from llmkit.tasks.measures import Measure
from llmkit.tasks.slices import Sliced, Slicing
from llmkit.tasks.values import Array

LEAST = 30  # rows in a slice, and in the rest, for a test
LEAST_GROUPS = 10  # that these rows are of
MOST = 12  # slices without an order: the largest
OTHERS = "others"
LEVEL = 0.05


@dataclass(frozen=True)
class Against:
    """By how much a slice's score is above that of the rest, with its 95 % interval.

    p and holm are the two-sided p-value, and that corrected for all slices of the report.
    """

    rest: float
    difference: float
    interval: list[float]
    p: float
    holm: float = 1.0


@dataclass(frozen=True)
class Slice:
    """A slice: its name, number of rows, score with its 95 % interval, and how it compares with the rest.

    `interval` and `against` are None if there are too few rows, or groups of them, to say.
    """

    name: str
    rows: int
    score: float
    interval: list[float] | None
    against: Against | None


@dataclass(frozen=True)
class Cut:
    """The slices of a slicing."""

    sliced: Sliced
    slicing: Slicing
    slices: Sequence[Slice]

    @property
    def worse(self) -> list[Slice]:
        """The slices that are worse than the rest by more than chance."""
        sign = -1 if self.sliced.is_error else 1
        return [
            each
            for each in self.slices
            if (found := each.against) is not None and found.holm < LEVEL and sign * found.difference < 0
        ]


def cuts(sliced: Sequence[Sliced], *, resamples: int = RESAMPLES, seed: int = 0) -> list[Cut]:
    """The scores of all slices. p-values are corrected for all of them."""
    found = [cut for each in sliced for cut in _cuts(each, resamples, seed)]
    corrected = iter(holm([each.against.p for cut in found for each in cut.slices if each.against]))

    def with_holm(each: Slice) -> Slice:
        return replace(each, against=replace(each.against, holm=next(corrected))) if each.against else each

    return [replace(cut, slices=[with_holm(each) for each in cut.slices]) for cut in found]


@dataclass(frozen=True)
class _Part:
    """The measure of some rows, and the group of each of these."""

    measure: Measure
    codes: Array

    def at(self, weights: Array) -> Array:
        """The scores [R] where group i counts `weights[:, i]` times; NaN without any row."""
        return self.measure.at(weights[:, self.codes])


def _cuts(sliced: Sliced, resamples: int, seed: int) -> Iterator[Cut]:
    codes = group_numbers(sliced.measured.groups)
    members = [_members(slicing, len(codes)) for slicing in sliced.slicings]
    parts = [
        _Part(measure, codes[rows])
        for its in members
        for member in its.values()
        for measure, rows in map(sliced.measured.measure.of, (np.flatnonzero(member), np.flatnonzero(~member)))
    ]
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw may have no row of a slice
        values = np.array([part.at(np.ones((1, codes.max() + 1)))[0] for part in parts])
        drawn = _drawn(parts, int(codes.max()) + 1, resamples, seed)
    each = iter(zip(values.reshape(-1, 2), drawn.reshape(-1, 2, resamples), strict=True))
    for slicing, its in zip(sliced.slicings, members, strict=True):
        slices = [_slice(name, member, codes, *next(each)) for name, member in its.items()]
        if len(slices) > 1:
            yield Cut(sliced, slicing, slices)


def _members(slicing: Slicing, rows: int) -> dict[str, Array]:
    """Which rows are in each slice, in the order of slices."""
    of = slicing.of[:rows]
    counts = Counter(name for name in of if name is not None)
    unordered = [name for name, _ in counts.most_common() if name not in slicing.order]
    shown = [*(name for name in slicing.order if counts[name]), *unordered[:MOST]]
    found = {name: np.array([each == name for each in of]) for name in shown}
    if rest := set(unordered[MOST:]):
        found[OTHERS] = np.array([each in rest for each in of])
    return found


def _drawn(parts: Sequence[_Part], groups: int, resamples: int, seed: int) -> Array:
    """The scores of parts in resamples, [parts, resamples]."""
    generator = np.random.default_rng(seed)
    found = []
    for some in at_once(max(groups, max((len(part.codes) for part in parts), default=1)), resamples):
        drawn = generator.integers(groups, size=(some, groups)) + groups * np.arange(some)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=some * groups).reshape(some, groups).astype(np.float64)
        found.append(np.array([part.at(weights) for part in parts]))
    return np.concatenate(found, axis=1) if parts else np.empty((0, resamples))


def _slice(name: str, member: Array, codes: Array, values: Array, drawn: Array) -> Slice:
    """`values` [2] and `drawn` [2, resamples] are the scores of the slice and of the rest."""
    rows, rest = int(member.sum()), int((~member).sum())
    groups = [len(np.unique(codes[part])) for part in (member, ~member)]
    against = None
    if min(rows, rest) >= LEAST and min(groups) >= LEAST_GROUPS:
        difference, differences = float(values[0] - values[1]), drawn[0] - drawn[1]
        error = float(np.nanstd(differences, ddof=1))
        p = math.erfc(abs(difference) / error / math.sqrt(2)) if error > 0 else float(difference == 0)
        against = Against(float(values[1]), difference, _interval(differences), p)
    return Slice(name, rows, float(values[0]), _interval(drawn[0]) if groups[0] > 1 else None, against)


def _interval(drawn: Array) -> list[float]:
    return [float(end) for end in np.nanquantile(drawn, (0.025, 0.975))]
