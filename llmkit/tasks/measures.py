"""Scores as functions of what is counted example by example, so that they can be resampled and compared.

A resample is a weight for every example: how often it was drawn. Most scores need only sums of counts: a mean, F1 of
entities, BLEU. So a thousand resamples are one product of matrices. Rank correlations need the examples themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from llmkit.tasks.values import Array


class Measure(Protocol):
    """A score of weighted rows, which are examples or groups of them; or a sum of such scores of several systems, each
    times a factor: a mean over seeds, a difference."""

    @property
    def factors(self) -> tuple[float, ...]:
        """The factor of each system."""

    def at(self, weights: Array) -> Array:
        """The scores [R] of weights [R, rows]: how often each row counts."""

    def by_group(self, codes: Array) -> tuple[Measure, Array]:
        """The measure to resample, and the group of each of its rows. `codes` [rows] are the groups of now, from 0.

        Rows and groups are put in an order that depends on what was counted alone: floating-point sums are always added
        in the same order, and group i is always the same group.
        """

    def of(self, rows: Array) -> tuple[Measure, Array]:
        """The measure of some of its rows, and the numbers of these in the order in which it has them."""

    def beside(self, other: Any, factor: float = 1.0) -> Measure:
        """The sum of this score and `factor` times another one of the same kind and rows."""

    def times(self, factor: float) -> Measure:
        """This score times a factor."""

    def or_swapped(self) -> Measure:
        """Of a difference of two systems, or of as many runs of each: twice the rows, which in their second half have
        the systems the other way around."""


@dataclass(frozen=True)
class Sums:
    """A score of sums. `counts` is [rows, systems * k], and `score` maps the sums of a system, [..., k], to [...]."""

    counts: Array
    score: Callable[[Array], Array]
    factors: tuple[float, ...] = (1.0,)

    def at(self, weights: Array) -> Array:
        """See Measure."""
        each = np.split(weights @ self.counts, len(self.factors), axis=-1)
        return sum((f * self.score(sums) for f, sums in zip(self.factors, each, strict=True)), np.zeros(len(weights)))

    def by_group(self, codes: Array) -> tuple[Sums, Array]:
        """See Measure: groups take the place of rows."""
        order = np.lexsort((*self.counts.T, codes))
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        sums = np.add.reduceat(self.counts[order], starts)
        sums = sums[np.lexsort(sums.T)]
        return replace(self, counts=sums), np.arange(len(sums))

    def of(self, rows: Array) -> tuple[Sums, Array]:
        """See Measure."""
        return replace(self, counts=self.counts[rows]), rows

    def beside(self, other: Sums, factor: float = 1.0) -> Sums:
        """See Measure."""
        counts = np.hstack([self.counts, other.counts])
        return replace(self, counts=counts, factors=self.factors + other.times(factor).factors)

    def times(self, factor: float) -> Sums:
        """See Measure."""
        return replace(self, factors=tuple(factor * each for each in self.factors))

    def or_swapped(self) -> Sums:
        """See Measure."""
        swapped = np.roll(self.counts, self.counts.shape[1] // 2, axis=1)
        return replace(self, counts=np.vstack([self.counts, swapped]))


@dataclass(frozen=True)
class Pairs:
    """A score that is no function of a few sums. `gold` is [rows] and `found` [rows, systems], numbers or labels.
    `score` maps gold, what a system found, and weights [R, rows] to [R]."""

    gold: Array
    found: Array
    score: Callable[[Array, Array, Array], Array]
    factors: tuple[float, ...] = (1.0,)

    def at(self, weights: Array) -> Array:
        """See Measure."""
        rows = np.column_stack([self.gold, self.found])
        starts = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])
        if len(starts) < len(rows):  # equal rows count as one: of labels there are few
            weights = np.add.reduceat(weights, starts, axis=1)
        each = (self.score(self.gold[starts], column, weights) for column in self.found[starts].T)
        return sum((f * scores for f, scores in zip(self.factors, each, strict=True)), np.zeros(len(weights)))

    def by_group(self, codes: Array) -> tuple[Pairs, Array]:
        """See Measure."""
        order = np.lexsort((*self.found.T, self.gold))
        first = np.unique(codes[order], return_index=True)[1]
        renumbered = np.empty(len(first), np.intp)
        renumbered[np.argsort(first)] = np.arange(len(first))
        return replace(self, gold=self.gold[order], found=self.found[order]), renumbered[codes[order]]

    def of(self, rows: Array) -> tuple[Pairs, Array]:
        """See Measure. Equal rows are put together, which `at` counts as one."""
        rows = rows[np.lexsort((*self.found[rows].T, self.gold[rows]))]
        return replace(self, gold=self.gold[rows], found=self.found[rows]), rows

    def beside(self, other: Pairs, factor: float = 1.0) -> Pairs:
        """See Measure."""
        found = np.hstack([self.found, other.found])
        return replace(self, found=found, factors=self.factors + other.times(factor).factors)

    def times(self, factor: float) -> Pairs:
        """See Measure."""
        return replace(self, factors=tuple(factor * each for each in self.factors))

    def or_swapped(self) -> Pairs:
        """See Measure."""
        swapped = np.roll(self.found, self.found.shape[1] // 2, axis=1)
        return replace(self, gold=np.tile(self.gold, 2), found=np.vstack([self.found, swapped]))


@dataclass(frozen=True)
class Measured:
    """A measure of examples, and the group of each of them: what is resampled as a whole."""

    measure: Measure
    groups: Sequence[Hashable]


def mean_of(values: npt.ArrayLike, scale: float = 100) -> Sums:
    """The mean of scores from 0 to 1, [rows], in percent."""
    found = np.asarray(values, np.float64)
    return Sums(np.column_stack([found, np.ones(len(found))]), lambda sums: scale * sums[..., 0] / sums[..., 1])


def f1_of_counts(counts: Array) -> Array:
    """F1 in percent, [...], from sums of correct, predicted and gold items, [..., 3]; 0 if there are none."""
    correct, both = counts[..., 0], counts[..., 1] + counts[..., 2]
    found: Array = np.divide(200 * correct, both, out=np.zeros(np.shape(correct)), where=both > 0)
    return found
