"""`llmkit recipes`: the recipes that come along, and a check for one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import Overrides, TasksFile, complete_recipe
from llmkit.system.errors import UserError

recipes_app = typer.Typer(no_args_is_help=True, help="List, show, copy and check recipes.")


@recipes_app.command("list")
def recipes_list() -> None:
    """The recipes that come with llmkit.

    \b
    Example:
      llmkit recipes list
    """
    from llmkit.recipes.shipped import shipped_recipes, summary
    from llmkit.system.console import table

    table(["recipe", "what it is"], [[name, summary(path)] for name, path in shipped_recipes().items()])


@recipes_app.command("show")
def recipes_show(name: Annotated[str, typer.Argument(autocompletion=complete_recipe)]) -> None:
    """Print a recipe.

    \b
    Example:
      llmkit recipes show bert-mini
    """
    from llmkit.recipes.shipped import locate
    from llmkit.system.console import result

    result(locate(name).read_text(encoding="utf-8").rstrip())


@recipes_app.command("copy")
def recipes_copy(
    name: Annotated[str, typer.Argument(autocompletion=complete_recipe)],
    to: Annotated[Path, typer.Argument(help="A file, or a folder to put it in.")] = Path(),
) -> None:
    """Copy a recipe, to make it your own.

    \b
    Example:
      llmkit recipes copy bert-mini my-bert.yaml
    """
    from llmkit.recipes.shipped import locate
    from llmkit.system.console import result
    from llmkit.system.files import write_whole

    source = locate(name)
    target = to / source.name if to.is_dir() else to
    if target.exists():
        raise UserError(f"{target} is there already", remedy="choose another name")
    if not target.parent.is_dir():
        raise UserError(f"no such folder: {target.parent}", remedy="make it, or choose another place")
    try:
        write_whole(target, source.read_bytes())
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}", remedy="choose another place") from None
    result(str(target))


@recipes_app.command("check")
def recipes_check(
    name: Annotated[str, typer.Argument(autocompletion=complete_recipe)],
    overrides: Overrides = None,
    tasks_file: TasksFile = None,
) -> None:
    """Check a recipe without running it.

    \b
    Example:
      llmkit recipes check my-bert.yaml train.max_steps=1000
    """
    from llmkit.recipes.reading import dump, kind_of, read_recipe
    from llmkit.recipes.shipped import locate
    from llmkit.system.console import result
    from llmkit.tasks import TASKS

    recipe = read_recipe(kind_of(locate(name)), name, overrides or (), tasks=TASKS)
    result(dump(recipe).rstrip())
