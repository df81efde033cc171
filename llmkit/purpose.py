"""What a model was fine-tuned for: its task, how it reads its inputs, and when it abstains.

A run says so by its recipe and its scores. A model that has left its run, copied or published, says so by a file beside
its config.json:

    llmkit.json  {"format": 1, "task": "squad_v2", "data": {"max_length": 384, …}, "null_threshold": -1.25}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from llmkit.console import warn
from llmkit.errors import UserError
from llmkit.files import parse_json, read_text
from llmkit.finetune_recipe import DataSection, FinetuneRecipe
from llmkit.hub import reading_from_the_hub
from llmkit.recipe import Section
from llmkit.rundir import RunDir, resolve_model

FILE = "llmkit.json"
# Where examples are says nothing of how they are read, and is no matter of whoever uses the model.
PLACES = DataSection.origin() | {"database"}


@dataclass(frozen=True)
class Purpose:
    """`data` is the recipe's section of data; of a model that has left its run, without the places of examples."""

    task: str
    data: dict[str, Any]
    null_threshold: float | None


class _File(Section):
    format: Literal[1]
    task: str
    data: dict[str, Any]
    null_threshold: float | None


def purpose_of(model: str) -> Purpose | None:
    """What a run, a checkpoint or a repository on the Hub says that it is for; None where it says nothing.

    Raises UserError where what it says is damaged.
    """
    run = RunDir(Path(model))
    if (run.path / "recipe.yaml").is_file():
        recipe = run.recipe()
        return Purpose(recipe["task"], recipe.get("data", {}), run.null_threshold()) if "task" in recipe else None
    file = _beside_config(resolve_model(model))
    if file is None:
        return None
    try:
        said = _File.model_validate(parse_json(read_text(file), file))
        if named := PLACES & said.data.keys():
            raise UserError(f"{file}: data names places: {', '.join(sorted(named))}", remedy="take them out of it")
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            remedy="update llmkit if a newer one wrote it; else restore the file, or remove it and give --task",
        ) from None
    return Purpose(said.task, said.data, said.null_threshold)


def write_purpose(run: RunDir, recipe: FinetuneRecipe, null_threshold: float | None) -> None:
    """Write llmkit.json into the folder of a run's model."""
    data = recipe.data.model_dump(exclude=set(PLACES), exclude_none=True)
    said = _File(format=1, task=recipe.task, data=data, null_threshold=null_threshold)
    run.write_json(f"model/{FILE}", said.model_dump())


def _beside_config(path: str) -> Path | None:
    if Path(path).exists():
        file = Path(path) / FILE
        return file if file.is_file() else None
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with reading_from_the_hub("model", path):
        try:
            return Path(hf_hub_download(path, FILE))
        except LocalEntryNotFoundError as error:
            if not constants.HF_HUB_OFFLINE:
                raise UserError(f"the Hub did not send {FILE} of {path}", remedy="run it again") from error
            # Its absence is known where it was asked for before; the cache then has a note of that, not None.
            if try_to_load_from_cache(path, "config.json") and try_to_load_from_cache(path, FILE) is None:
                warn(f"whether {path} has a {FILE}, which says what it is for, is not known without the Hub")
            return None
        except EntryNotFoundError:
            return None
