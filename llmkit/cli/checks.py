"""Commands that look and prove: what is there, and whether a run is what it says."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from llmkit.cli.options import AsJson, Overrides, Processes, Recipe, TasksFile


def verify(
    what: Annotated[Literal["resume", "packing", "determinism"], typer.Argument(help="What to prove.")],
    overrides: Overrides = None,
    recipe: Recipe = None,
    processes: Processes = None,
    tasks_file: TasksFile = None,
) -> None:
    """Prove on your recipe and machine that a run is what it says. Exits with 1 where it is not.

    \b
    Examples:
      llmkit verify resume -r tiny/pretrain
      llmkit verify packing -r tiny/pretrain
    """
    from llmkit.commands import verify as story
    from llmkit.recipes.reading import kind_of, read_recipe
    from llmkit.recipes.shipped import locate
    from llmkit.tasks import TASKS

    name = recipe or "tiny/pretrain"
    settings = read_recipe(kind_of(locate(name)), name, overrides or (), tasks=TASKS)
    proofs = {"resume": story.verify_resume, "determinism": story.verify_determinism}
    proven = story.verify_packing(settings) if what == "packing" else proofs[what](settings, processes)
    raise typer.Exit(0 if proven else 1)


def tasks(tasks_file: TasksFile = None, as_json: AsJson = False) -> None:
    """The tasks that `finetune` and `eval` know.

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
            ["task", "what it is", "recipe"],
            [[name, task.title, task.recipe] for name, task in TASKS.items()],
        )


def doctor(as_json: AsJson = False) -> None:
    """Versions, hardware, what is chosen for it, and whether the Hub answers.

    \b
    Example:
      llmkit doctor
    """
    from llmkit.commands.doctor import examine, show
    from llmkit.system.console import print_json

    findings = examine()
    print_json(findings) if as_json else show(findings)
