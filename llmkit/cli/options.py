"""Options that several commands share. Nothing heavy is imported here: the shell's completion passes through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complete_task(incomplete: str) -> list[str]:
    """Names of tasks, for the shell."""
    from llmkit.tasks import TASKS

    return [name for name in TASKS if name.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """Names of shipped recipes, for the shell."""
    from llmkit.recipes.shipped import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def _use_tasks(context: typer.Context, file: Path | None) -> Path | None:
    if file is not None and not context.resilient_parsing:
        from llmkit.tasks.user_tasks import use_tasks

        use_tasks(file)
    return file


Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Overrides of the recipe: `train.learning_rate=1e-4`."),
]
Recipe = Annotated[
    str | None,
    typer.Option("-r", "--recipe", help="Name or path of a recipe.", autocompletion=complete_recipe),
]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the run.", show_default="runs/NAME")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")]
AutoBatch = Annotated[
    bool,
    typer.Option(
        "--auto-batch",
        help="Where memory runs out, halve the micro-batch and double the accumulation, which keeps the batch.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Check everything, try a few steps, say what the run would take, and stop."),
]
Processes = Annotated[
    int | None,
    typer.Option("-n", "--processes", min=1, help="Processes.", show_default="one a GPU, or one"),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Inputs a batch: fewer of them take less memory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str, typer.Argument(metavar="RUN_OR_MODEL", help="A run, a checkpoint folder or a Hub id.")]
TaskName = Annotated[
    str | None, typer.Option("--task", help="A task: see `llmkit tasks`.", autocompletion=complete_task)
]
# Read before the other options, which may name its tasks; commands have nothing more to do with it.
TasksFile = Annotated[
    Path | None,
    typer.Option(
        "--tasks",
        metavar="FILE.py",
        is_eager=True,
        callback=_use_tasks,
        help="A Python file with tasks of your own: it defines TASKS, a dictionary from names to tasks.",
    ),
]
Data = Annotated[str | None, typer.Option("--data", help="A file, a folder or a Hub id.", show_default="the run's own")]
Split = Annotated[str, typer.Option("--split", help="Which split of the data.")]
DataOverrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="How data is read: `data.label_column=stars`."),
]
