"""The scores of slices: which kinds of examples is the model worse at?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.evidence.page import fragment
from llmkit.evidence.report.reported import Reported, Section
from llmkit.evidence.slices import LEAST, LEAST_GROUPS, LEVEL, Cut, Slice, cuts


@dataclass(frozen=True)
class Row:
    """A slice as a row of a table. `low`, `at` and `high` are places on the scale of its score, in percent of its
    width."""

    name: str
    rows: str
    score: str
    low: float
    at: float
    high: float
    difference: str
    p: str
    worse: bool


@dataclass(frozen=True)
class Shown:
    """A cut as a table."""

    name: str
    rule: str
    what: str
    score: str
    rows: Sequence[Row]


def section(reported: Reported) -> Section:
    """Tables of slices; names those that are worse than the rest."""
    found = cuts(list(reported.review.sliced(reported.train)))
    said = [_said(cut, each) for cut in found for each in cut.worse]
    markup = fragment(
        "report_slices.html",
        cuts=[_shown(cut) for cut in found],
        tested=sum(each.against is not None for cut in found for each in cut.slices),
        least=LEAST,
        groups=LEAST_GROUPS,
        level=f"{LEVEL:g}",
        no_training=reported.review.slices_by_training and reported.train is None,
    )
    return Section("Slices", "slices", markup, said)


def _shown(cut: Cut) -> Shown:
    ends = [end for each in cut.slices for end in (each.interval or [each.score])]
    low, high = min(ends), max(ends)

    def place(score: float) -> float:
        return round(100 * (score - low) / (high - low or 1.0), 1)

    worse, digits = cut.worse, ".4g" if cut.sliced.is_error else ".2f"
    rows = []
    for each in cut.slices:
        start, end = each.interval or [each.score, each.score]
        against = each.against
        rows.append(
            Row(
                each.name,
                f"{each.rows:,}",
                _with_interval(each.score, each.interval, digits),
                place(start),
                place(each.score),
                place(end),
                difference=_with_interval(against.difference, against.interval, f"+{digits}") if against else "too few",
                p=_p_value(against.holm) if against else "",
                worse=each in worse,
            )
        )
    return Shown(cut.slicing.name, cut.slicing.rule, cut.sliced.rows, cut.sliced.score, rows)


def _p_value(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def _with_interval(value: float, ends: Sequence[float] | None, digits: str) -> str:
    return f"{value:{digits}}" + (f" ({ends[0]:{digits}} to {ends[1]:{digits}})" if ends else "")


def _said(cut: Cut, slice_: Slice) -> str:
    """That a slice is worse than the rest, with its numbers."""
    against = slice_.against
    assert against is not None
    low, high = against.interval
    digits = ".3g" if cut.sliced.is_error else ".1f"  # an error is of any size, not percent
    return (
        f"{cut.slicing.name}, {slice_.name}: {cut.sliced.score} {slice_.score:{digits}}, the rest "
        f"{against.rest:{digits}}; {against.difference:+{digits}} ({low:+{digits}} to {high:+{digits}}; "
        f"{slice_.rows:,} {cut.sliced.rows})."
    )
