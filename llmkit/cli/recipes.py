"""`llmkit recipes`: list, show, copy and check recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import Overrides, TasksFile, complete_recipe
from llmkit.system.errors import UserError

RecipeName = Annotated[str, typer.Argument(help="Recipe name or file.", autocompletion=complete_recipe)]

recipes_app = typer.Typer(no_args_is_help=True, help="List, show, copy and check recipes.")


@recipes_app.command("list")
def recipes_list() -> None:
    """List the recipes that ship with llmkit.

    \b
    Example:
      llmkit recipes list
    """
    from llmkit.recipes.shipped import shipped_recipes, summary
    from llmkit.system.console import table

    table(["recipe", "description"], [[name, summary(path)] for name, path in shipped_recipes().items()])


@recipes_app.command("show")
def recipes_show(name: RecipeName) -> None:
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
    name: RecipeName,
    to: Annotated[Path, typer.Argument(help="File or folder to copy it to.")] = Path(),
) -> None:
    """Copy a recipe so that you can edit it.

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
        raise UserError(f"{target} already exists", remedy="choose another name")
    if not target.parent.is_dir():
        raise UserError(f"no such folder: {target.parent}", remedy="create it, or choose another path")
    try:
        write_whole(target, source.read_bytes())
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}", remedy="choose another path") from None
    result(str(target))


@recipes_app.command("check")
def recipes_check(
    name: RecipeName,
    overrides: Overrides = None,
    tasks_file: TasksFile = None,
) -> None:
    """Check a recipe without running it, and print it resolved.

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
