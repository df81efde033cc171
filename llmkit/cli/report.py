"""The command that writes a page about a run: `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import TasksFile


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…",
            help="Runs, or folders with runs of several seeds. Curves are of all of them, the rest is of the first.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.html", help="The page, one file that opens offline."),
    ],
    tasks_file: TasksFile = None,
) -> None:
    """Write a page about a run: scores with intervals, curves, and the kinds of examples that it is worse at.

    A slice of the examples that is worse than the rest by more than chance is named at the top of the page, and
    printed. Pretraining runs, and runs that are not finished, get their curves. Needs `pip install "llmkit[report]"`.

    \b
    Examples:
      llmkit report runs/squad -o report.html
      llmkit report runs/squad runs/squad-large -o both.html
    """
    from llmkit.commands import report as command
    from llmkit.evidence.page import check_page

    check_page(output)
    command.show(command.run(command.prepare(runs), output), output)
