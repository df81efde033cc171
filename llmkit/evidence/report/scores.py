"""The scores of a run with their intervals, and what else its kind of task shows of its predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.evidence.page import fragment
from llmkit.evidence.page.plots import BLUE, SOFT, plot
from llmkit.evidence.report.reported import Logged, Reported, Section
from llmkit.tasks.slices import Confusion, Detail, Listed, Residuals
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

MOST_POINTS = 2000  # of a scatter plot; more are drawn from at random


def section(reported: Reported) -> Section:
    """Scores, tables that `llmkit eval` prints too, and details such as the confusion of labels."""
    task = reported.task
    tables = [
        Listed("", ["score", ">", "95 % interval"], task.score_rows(reported.run.scores)),
        *(Listed("", table.columns, list(table.rows)) for table in task.more_tables(reported.run.scores)),
    ]
    parts = [_shown(each) for each in [*tables, *reported.review.details()]]
    return Section("Scores", "scores", fragment("report_scores.html", parts=parts, unit=task.score_unit))


def section_of_pretraining(run: Logged) -> Section:
    """The losses of a pretraining run."""
    rows = [[name, f"{value:.4f}"] for name, value in _losses(run.scores)]
    table = _shown(Listed("", ["held-out text", ">"], rows))
    return Section("Scores", "scores", fragment("report_scores.html", parts=[table], unit=""))


def _losses(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """The losses and perplexities of metrics.json; those of corpora in `also_evaluate` are nested."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _losses(value, f"{before}{name}: ")
        elif isinstance(value, float):  # whole numbers count steps
            yield f"{before}{name}", value


def _shown(detail: Detail) -> Markup:
    """A detail as HTML."""
    match detail:
        case Listed():
            return fragment("report_table.html", table=detail)
        case Confusion():
            shares = detail.counts / np.maximum(detail.counts.sum(axis=1, keepdims=True), 1)
            values = {"counts": detail.counts.tolist(), "shares": shares.tolist()}
            return fragment("report_confusion.html", labels=detail.labels, **values)
        case Residuals():
            return _residuals(detail)


def _residuals(found: Residuals) -> Markup:
    number = len(found.gold)
    some: Array = np.random.default_rng(0).permutation(number)[:MOST_POINTS]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=SOFT, linewidth=1)
        axes.scatter(found.gold[some], found.residuals[some], s=8, color=BLUE, alpha=0.5, linewidths=0)
        axes.set_title("predicted minus gold", loc="left")
        axes.set_xlabel("gold")

    chart = plot(draw, "Residuals: predicted minus gold, by gold")
    return fragment("report_residuals.html", chart=chart, shown=len(some), number=number)
