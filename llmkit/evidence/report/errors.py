"""The worst errors, as a person reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmkit.evidence.page import fragment
from llmkit.evidence.report.reported import Reported, Section
from llmkit.tasks.shown import Case
from llmkit.tasks.slices import Slicing
from llmkit.tasks.values import Array

SHOWN = 100
OPEN = 10  # that are shown at once


@dataclass(frozen=True)
class Shown:
    """An error on the page: `size` says how bad it is, and `slices` are numbers of Options."""

    id: str
    size: str
    case: Case
    slices: Sequence[int]


@dataclass(frozen=True)
class Option:
    """A slice that errors can be chosen by, with how many of those shown are in it."""

    number: int
    name: str
    errors: int


def worst(errors: Array, most: int = SHOWN) -> list[int]:
    """The numbers of the worst errors, [examples], the worst first; NaN and 0 are none."""
    order = np.argsort(-errors, kind="stable")
    return [int(row) for row in order if errors[row] > 0][:most]


def section(reported: Reported) -> Section | None:
    """The worst errors with gold and prediction, to be filtered by slice. None if nothing is an error."""
    review = reported.review
    errors = review.errors()
    if errors is None:
        return None
    rows = worst(errors)
    slicings = [slicing for slicing in reported.review.slicings if len(slicing.of) == len(reported.ids)]
    options, slices = _options(slicings, rows)
    shown = [
        Shown(reported.ids[row], f"{errors[row]:.3g}", review.case(row), its)
        for row, its in zip(rows, slices, strict=True)
    ]
    markup = fragment(
        "report_errors.html",
        shown=shown,
        open=OPEN,
        options=options,
        all=f"{int((errors > 0).sum()):,}",
        item=reported.task.item,
        by=review.worst_by,
    )
    return Section("Worst errors", "errors", markup)


def _options(slicings: Sequence[Slicing], rows: Sequence[int]) -> tuple[dict[str, list[Option]], list[list[int]]]:
    """The slices by name of the slicing, and the numbers of each row's slices."""
    options: dict[str, list[Option]] = {}
    slices: list[list[int]] = [[] for _ in rows]
    number = 0
    for slicing in slicings:
        counts = Counter(name for row in rows if (name := slicing.of[row]) is not None)
        names = [*(name for name in slicing.order if name in counts)]
        names += [name for name, _ in counts.most_common() if name not in names]
        for name in names:
            options.setdefault(slicing.name, []).append(Option(number, name, counts[name]))
            for place, row in enumerate(rows):
                if slicing.of[row] == name:
                    slices[place].append(number)
            number += 1
    return options, slices
