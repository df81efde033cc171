"""Options that several commands share. Shell completion imports this module, so slow imports stay inside functions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complete_task(incomplete: str) -> list[str]:
    """Complete task names in the shell."""
    from llmkit.tasks import TASKS

    return [name for name in TASKS if name.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """Complete the names of shipped recipes in the shell."""
    from llmkit.recipes.shipped import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def _use_tasks(context: typer.Context, file: Path | None) -> Path | None:
    if file is not None and not context.resilient_parsing:
        from llmkit.tasks.user_tasks import use_tasks

        use_tasks(file)
    return file


Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Recipe overrides, such as `train.learning_rate=1e-4`."),
]
Recipe = Annotated[
    str | None,
    typer.Option("-r", "--recipe", help="Recipe name or file.", autocompletion=complete_recipe),
]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Run folder.", show_default="runs/NAME")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run from its last checkpoint; start it if it has not started.")
]
AutoBatch = Annotated[
    bool,
    typer.Option(
        "--auto-batch",
        help="If memory runs out, halve the micro-batch and double gradient accumulation: the batch stays the same.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Check everything, try a few steps, print estimates of time and memory, and exit."),
]
Processes = Annotated[
    int | None,
    typer.Option("-n", "--processes", min=1, help="Number of processes.", show_default="one per GPU, or one"),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Inputs per batch. A small number saves memory.",
        show_default="as many tokens as suit the device",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Model = Annotated[str, typer.Argument(metavar="RUN_OR_MODEL", help="Run folder, checkpoint folder or Hub id.")]
TaskName = Annotated[
    str | None, typer.Option("--task", help="Task name. See `llmkit tasks`.", autocompletion=complete_task)
]
# Eager: its tasks must be registered before other options name them. Commands ignore the value.
TasksFile = Annotated[
    Path | None,
    typer.Option(
        "--tasks",
        metavar="FILE.py",
        is_eager=True,
        callback=_use_tasks,
        help="Python file with your own tasks. It defines TASKS, a dictionary from names to tasks.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", help="Dataset: file, pattern in quotes, folder or Hub id.", show_default="the run's dataset"
    ),
]
Split = Annotated[str, typer.Option("--split", help="Split of the dataset.")]
DataOverrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Dataset overrides, such as `data.label_column=stars`."),
]
