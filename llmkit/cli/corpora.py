"""The command that prepares text before it is tokenized: `curate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.system.errors import UserError


def curate(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings: `quality=[gopher-quality,gopher-repetition,c4,fineweb]`, `duplicates.remove=false`, "
            "`duplicates.similarity=0.8`, `contamination.files=[FILE,…]`, `contamination.words=13`, "
            "`executor=slurm` or `ray`, `workers=8`, `slurm.partition=cpu`.",
        ),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "-c",
            "--corpus",
            metavar="SOURCE[,key=value…]",
            help="As for `llmkit tokenize`. Repeat -c for more sources.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the documents.", show_default=False)
    ] = None,
) -> None:
    """Filter, deduplicate and decontaminate text with datatrove, before `tokenize`.

    By default, leaves out near duplicates. What is removed is kept beside the result, with the reason. Needs
    `pip install "llmkit[scale]"`.

    If the command is stopped or killed, run it again to continue. The result does not depend on the number of workers.

    \b
    Example:
      llmkit curate -c books/ -o data/curated quality=[gopher-quality]
      llmkit tokenize -c data/curated/documents -o data/tokens
    """
    from llmkit.commands import curate as command
    from llmkit.recipes.curation import CurateRecipe
    from llmkit.recipes.reading import recipe_from
    from llmkit.system.console import result
    from llmkit.system.machine import quiet

    if not corpus:
        raise UserError("no text source given", remedy="give one with -c, such as -c wikipedia")
    if output is None:
        raise UserError("no output folder given", remedy="give one with -o")
    recipe = recipe_from(CurateRecipe, {"sources": list(corpus)}, overrides or ())
    quiet()
    documents = command.curate(command.prepare(recipe, output))
    if documents is not None:
        result(str(documents))
