"""Print a task's scores as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.system.console import table

if TYPE_CHECKING:
    from llmkit.tasks.base import Task


@dataclass(frozen=True)
class Table:
    """Column names (a leading `>` aligns right) and rows of text."""

    columns: Sequence[str]
    rows: Iterable[Sequence[str]]


def show(task: Task[Any], scores: Mapping[str, Any], title: str) -> None:
    """Print the scores of an evaluation."""
    table(
        ["score", ">percent", "95 % interval"],
        task.score_rows(scores),
        title=f"{title}, {scores['total']:,} {task.item}s",
    )
    for more in task.more_tables(scores):
        table(more.columns, more.rows)


def rows_with_intervals(headline: Sequence[str], scores: Mapping[str, Any]) -> list[list[str]]:
    """Rows (name, percent, interval): the headline scores, then every other score that has an interval."""
    others = [name for name, value in scores.items() if isinstance(value, float) and f"{name}_interval" in scores]
    return [
        [name, f"{scores[name]:.2f}", interval_text(scores.get(f"{name}_interval"))]
        for name in dict.fromkeys([*headline, *others])
    ]


def interval_text(ends: Sequence[float] | None) -> str:
    """An interval in words; empty if there is none."""
    return f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""
