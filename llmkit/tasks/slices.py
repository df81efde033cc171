"""What a report shows of a kind of task beside its scores: ways to cut examples into slices, and details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmkit.corpus.words import words
from llmkit.tasks.measures import Measured
from llmkit.tasks.values import Array


@dataclass(frozen=True)
class Slicing:
    """A way to cut examples, or parts of them, into slices.

    name   what they are cut by: `question word`
    of     the slice of each, [rows]: `who`; None if it is in none
    order  the slices in order, if they have one; the others follow, the largest first
    rule   how they are told apart, in a sentence; empty if the name says it
    """

    name: str
    of: Sequence[str | None]
    order: Sequence[str] = ()
    rule: str = ""


@dataclass(frozen=True)
class Sliced:
    """A score of rows, and the ways to cut these.

    rows       what a row is, plural: `questions`, or a part of an example: `entities`
    score      the name of the score
    measured   the score as a measure. If it has fewer rows than slicings do, they are the first ones: those of the part
               that headline scores are of
    slicings   of the rows
    is_error   whether a lower score is better
    """

    rows: str
    score: str
    measured: Measured
    slicings: Sequence[Slicing]
    is_error: bool = False


@dataclass(frozen=True)
class Confusion:
    """Counts of gold and predicted labels, [gold, predicted]."""

    labels: Sequence[str]
    counts: Array


@dataclass(frozen=True)
class Residuals:
    """Gold numbers and by how much predictions are above them, [examples]."""

    gold: Array
    residuals: Array


@dataclass(frozen=True)
class Listed:
    """A table. A leading `>` in a column's name aligns right, as in score_tables.Table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


Detail = Confusion | Residuals | Listed


def in_quarters(name: str, values: npt.ArrayLike, rule: str = "") -> Slicing:
    """Slices by a whole number, with about a quarter of the rows each; NaN is in none.

    Fewer than four if many numbers are equal.
    """
    sizes = np.asarray(values, np.float64)
    known = sizes[~np.isnan(sizes)]
    if not len(known):
        return Slicing(name, [None] * len(sizes))
    # Where a slice begins, but for the first.
    starts = np.unique(np.quantile(known, (0.25, 0.5, 0.75), method="higher") + 1)
    starts = starts[starts <= known.max()]
    lows, highs = [known.min(), *starts], [*(starts - 1), known.max()]
    names = [
        f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}" for low, high in zip(lows, highs, strict=True)
    ]
    place = np.searchsorted(starts, sizes, side="right")
    of = [None if np.isnan(size) else names[at] for size, at in zip(sizes, place, strict=True)]
    return Slicing(name, of, names, rule)


def number_of_words(texts: Sequence[str]) -> Array:
    """The number of words of each text, [texts]."""
    return np.array([len(words(text)) for text in texts])
