"""Is a score another one on some of the examples? Scores of two disjoint sets of examples, and their difference."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmkit.evidence.audit.audited import Audited
from llmkit.tasks.bootstrap import at_once, group_numbers, interval
from llmkit.tasks.measures import Measured
from llmkit.tasks.values import Array

RESAMPLES = 2000  # 5,000 would take half a minute for the three scores of MRPC
_ROUNDING = 1e-9  # by which sums in another order may differ


@dataclass(frozen=True)
class SubsetScore:
    """A score, with its 95 % interval over groups of examples, or None if there is only one group."""

    value: float
    interval: list[float] | None


@dataclass(frozen=True)
class Gap:
    """By how much a score of the clean examples is above that of the touched ones; see `gap`.

    `interval` and the two-sided p-value are None if some draw has no score, as a correlation of equal numbers.
    """

    value: float
    interval: list[float] | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Split:
    """The scores of all, clean and touched examples by name. Empty for sides without examples; `gaps` need both."""

    all: dict[str, SubsetScore]
    clean: dict[str, SubsetScore]
    touched: dict[str, SubsetScore]
    gaps: dict[str, Gap]


class Scorer:
    """Scores an audited model on some of its examples. Of data in parts, it scores the first, as its metric does.

    `metric` is the score to show: that of the task, or where it is no measure, the next one of its headline. `groups`
    are the groups of the scored examples: what is resampled as a whole.
    """

    def __init__(self, audited: Audited) -> None:
        self._audited = audited
        self._splits: dict[bytes, Split] = {}
        ids = audited.examples["id"][:]
        parts = audited.examples["part"][:] if "part" in audited.examples.column_names else [""] * len(ids)
        self.scored = np.array([part == parts[0] for part in parts])
        self._all = self._measures(self.scored)
        self._all_scores = _scores(self._all)
        task = audited.task
        self.metric = next(name for name in (task.metric, *task.headline, *self._all) if name in self._all)
        self._ids = [ids[number] for number in np.flatnonzero(self.scored)]
        groups = self._all[self.metric].groups
        self.groups: Sequence[Hashable] = groups if len(groups) == len(self._ids) else self._ids

    def split(self, touched: Array) -> Split:
        """The scores where the mask `touched` [examples] divides the examples."""
        key = touched.tobytes()
        if key not in self._splits:  # what is found in one way often is in another
            self._splits[key] = self._split(touched)
        return self._splits[key]

    def _split(self, touched: Array) -> Split:
        clean, there = self._measures(self.scored & ~touched), self._measures(self.scored & touched)
        both = {name: of for name, of in self._all.items() if name in clean and name in there}
        values = {name: _value(clean[name]) - _value(there[name]) for name in both}
        rows = {name: self._examples_of_rows(of) for name, of in both.items()}
        by_chance: dict[str, list[Array]] = {name: [] for name in both}
        if both:
            for ours, theirs in drawn_sides(group_numbers(self.groups), touched[self.scored]):
                for name, of in both.items():
                    by_chance[name].append(of.measure.at(ours[:, rows[name]]) - of.measure.at(theirs[:, rows[name]]))
        gaps = {
            name: gap(value, np.concatenate(by_chance[name])) for name, value in values.items() if math.isfinite(value)
        }
        return Split(self._all_scores, _scores(clean), _scores(there), gaps)

    def _measures(self, examples: Array) -> dict[str, Measured]:
        if not examples.any():
            return {}
        some = self._audited.examples.select(np.flatnonzero(examples))
        return self._audited.task.measures(self._audited.predictions, some, self._audited.data)

    def _examples_of_rows(self, measured: Measured) -> Array:
        """The number of the scored example of each row of a measure: rows are examples, or grouped by their ids."""
        if len(measured.groups) == len(self._ids):
            return np.arange(len(self._ids))
        number_of: dict[Hashable, int] = {example: number for number, example in enumerate(self._ids)}
        return np.array([number_of[group] for group in measured.groups])


def drawn_sides(groups: Array, touched: Array) -> Iterator[tuple[Array, Array]]:
    """Yield weights of examples, [some, examples], of a clean and of a touched side, both drawn from all examples.

    A side has as many parts of groups as it has in truth, each as large: for two touched questions of a paragraph, two
    questions of some paragraph are drawn. So it says what chance would do if touched examples were like all others.
    """
    sizes, order = np.bincount(groups), np.argsort(groups, kind="stable")
    starts, number = np.cumsum(sizes) - sizes, len(groups)
    generator = np.random.default_rng(0)

    def drawn(parts: Array, some: int) -> Array:
        whose = np.repeat(generator.integers(len(sizes), size=(some, len(parts))), parts, axis=1)
        first = np.repeat(generator.random((some, len(parts))), parts, axis=1)
        nth = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        # No example twice, unless the group is smaller than the part.
        within = ((first * sizes[whose]).astype(np.intp) + nth) % sizes[whose]
        rows = order[starts[whose] + within] + number * np.arange(some)[:, None]
        return np.bincount(rows.ravel(), minlength=some * number).reshape(some, number).astype(np.float64)

    sides = [np.bincount(groups[mask]) for mask in (~touched, touched)]
    for some in at_once(number, RESAMPLES):
        clean, there = (drawn(parts[parts > 0], some) for parts in sides)
        yield clean, there


def gap(value: float, by_chance: Array) -> Gap:
    """A difference `value` beside differences by chance alone, [resamples]: a bootstrap test of two samples as by Efron
    and Tibshirani (1993, section 16.2), over parts of groups. The interval is the difference, less what chance makes of
    none: it does not shrink to nothing where all of a few touched examples are right, as a percentile interval does.
    """
    if not np.isfinite(by_chance).all():
        return Gap(value)
    low, high = np.quantile(by_chance, (0.025, 0.975))
    as_far = int((np.abs(by_chance) >= abs(value) - _ROUNDING).sum())
    return Gap(value, [value - float(high), value - float(low)], (as_far + 1) / (len(by_chance) + 1))


def _scores(measures: dict[str, Measured]) -> dict[str, SubsetScore]:
    found = {
        name: SubsetScore(_value(one), _finite(interval(one.measure, one.groups))) for name, one in measures.items()
    }
    return {name: score for name, score in found.items() if math.isfinite(score.value)}


def _value(one: Measured) -> float:
    return float(one.measure.at(np.ones((1, len(one.groups))))[0])


def _finite(ends: list[float] | None) -> list[float] | None:
    return ends if ends is not None and np.isfinite(ends).all() else None


def plain(of: SubsetScore | Gap) -> dict[str, Any]:
    """A score or a gap as plain values."""
    return dict(vars(of))
