"""The commands that prepare text, as functions: `curate` and `tokenize`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmkit.api.arguments import PathLike, Section, overrides_of, path_of


def curate(
    *sources: PathLike,
    output: PathLike,
    quality: Sequence[str] = (),
    duplicates: Section | None = None,
    contamination: Section | None = None,
    workers: int | None = None,
) -> Path:
    """Filter, deduplicate and decontaminate `sources`, each written as for `llmkit curate -c`, on this machine.

    Returns the folder of the documents that are left, for `tokenize`.
    """
    from llmkit.commands import curate as command
    from llmkit.recipes.curation import CurateRecipe
    from llmkit.recipes.reading import recipe_from
    from llmkit.system.machine import quiet

    given = {"sources": [str(source) for source in sources], "quality": list(quality), "workers": workers}
    recipe = recipe_from(CurateRecipe, given, overrides_of(duplicates=duplicates, contamination=contamination))
    quiet()
    documents = command.curate(command.prepare(recipe, Path(output)))
    assert documents is not None, "only Slurm's jobs are not waited for"
    return documents


def tokenize(*sources: PathLike, output: PathLike | None = None, tokenizer: Section | None = None) -> Path:
    """Tokenize `sources`, each written as for `llmkit tokenize -c`, and return the folder of the token shards.

    Without `output`, the folder is in the cache.
    """
    from llmkit.commands import tokenize as command
    from llmkit.recipes.corpus import TokenizeRecipe
    from llmkit.recipes.reading import recipe_from
    from llmkit.system.machine import quiet

    recipe = recipe_from(
        TokenizeRecipe, {"sources": [str(source) for source in sources]}, overrides_of(tokenizer=tokenizer)
    )
    quiet()
    return command.tokenize(command.prepare(recipe.sources, recipe.tokenizer, path_of(output)))
