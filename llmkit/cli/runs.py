"""The commands that look at runs while others write them: `runs` and `watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import AsJson, TasksFile


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder with runs, at any depth.")] = Path("runs"),
    tasks_file: TasksFile = None,
    as_json: AsJson = False,
) -> None:
    """List runs: whether they are running, how far they are, their best score so far. The latest comes first.

    \b
    Examples:
      llmkit runs
      llmkit runs /shared/me/runs --json
    """
    from llmkit.commands import runs as command
    from llmkit.system.console import print_json

    found = command.runs_in(folder)
    print_json([each.as_row() for each in found]) if as_json else command.show(found, folder)


def watch(
    run: Annotated[Path, typer.Argument(help="The run.")],
    tasks_file: TasksFile = None,
) -> None:
    """Follow a run from another terminal, or another machine that sees its folder, until it ends.

    Prints its evaluations so far, then what it logs. Ctrl-C ends the watching, not the run.

    \b
    Example:
      llmkit watch runs/squad
    """
    from llmkit.commands import watch as command

    command.watch(run)
