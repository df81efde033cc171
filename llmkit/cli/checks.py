"""Commands that inspect and verify: `verify`, `tasks` and `doctor`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from llmkit.cli.options import AsJson, Overrides, Processes, Recipe, TasksFile


def verify(
    what: Annotated[Literal["resume", "packing", "determinism"], typer.Argument(help="Property to verify.")],
    overrides: Overrides = None,
    recipe: Recipe = None,
    processes: Processes = None,
    tasks_file: TasksFile = None,
) -> None:
    """Verify resume, packing or determinism on this machine.

    Runs the check with your recipe (default: tiny/pretrain) and exits with 1 if it fails.

    \b
    Examples:
      llmkit verify resume -r tiny/pretrain
      llmkit verify packing -r tiny/pretrain
    """
    from llmkit.commands import verify as command
    from llmkit.recipes.reading import kind_of, read_recipe
    from llmkit.recipes.shipped import locate
    from llmkit.tasks import TASKS

    name = recipe or "tiny/pretrain"
    settings = read_recipe(kind_of(locate(name)), name, overrides or (), tasks=TASKS)
    checks = {"resume": command.verify_resume, "determinism": command.verify_determinism}
    passed = command.verify_packing(settings) if what == "packing" else checks[what](settings, processes)
    raise typer.Exit(0 if passed else 1)


def tasks(tasks_file: TasksFile = None, as_json: AsJson = False) -> None:
    """List the tasks a model can be fine-tuned for.

    \b
    Example:
      llmkit tasks
    """
    from llmkit.system.console import print_json, table
    from llmkit.tasks import TASKS

    if as_json:
        print_json({name: {"title": task.title, "recipe": task.recipe} for name, task in TASKS.items()})
    else:
        table(
            ["task", "description", "recipe"],
            [[name, task.title, task.recipe] for name, task in TASKS.items()],
        )


def doctor(as_json: AsJson = False) -> None:
    """Show versions, hardware, default settings and Hub access.

    \b
    Example:
      llmkit doctor
    """
    from llmkit.commands.doctor import findings, show
    from llmkit.system.console import print_json

    print_json(dict(findings())) if as_json else show(findings())
