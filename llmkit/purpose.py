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

from llmkit.recipes.finetuning import DataSection, data_class
from llmkit.recipes.pretraining import Section
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text, to_json, write_whole
from llmkit.system.hub import file_of
from llmkit.system.run_folder import RunDir, resolve_model
from llmkit.tasks import TASKS

FILE = "llmkit.json"
REMEDY = "update llmkit if a newer one wrote it; else restore it, or, where the command takes it, name a --task"
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


def purpose_of(model: str, *, told: bool = False) -> Purpose | None:
    """What a run, a checkpoint or a repository on the Hub says that it is for; None where it says nothing.

    Raises UserError where what it says is damaged. Where its user has `told` the task, a file that cannot be used is
    passed over, with a warning.
    """
    run = RunDir(Path(model))
    if (run.path / "recipe.yaml").is_file():
        recipe = run.recipe()
        return Purpose(recipe["task"], recipe.get("data", {}), run.null_threshold()) if "task" in recipe else None
    file = file_of(resolve_model(model), FILE)
    if file is None:
        return None
    try:
        return _read(file)
    except UserError as error:
        if not told:
            raise
        warn(f"{error}; it is passed over")
        return None


def _read(file: Path) -> Purpose:
    """Strangers may have written it: what is not as it should be is named, and nothing in it names a place."""
    try:
        said = _File.model_validate(parse_json(read_text(file), file))
        if said.task not in TASKS:
            raise UserError(f"{file}: unknown task {said.task!r}", remedy=REMEDY)
        if named := PLACES & said.data.keys():
            raise UserError(f"{file}: data names places: {', '.join(sorted(named))}", remedy=REMEDY)
        data_class(TASKS[said.task].head).model_validate({**said.data, "path": "elsewhere"})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}", remedy=REMEDY) from None
    return Purpose(said.task, said.data, said.null_threshold)


def write_purpose(folder: Path, task: str, data: DataSection, null_threshold: float | None) -> None:
    """Write llmkit.json into a model's folder."""
    reading = data.model_dump(exclude=set(PLACES), exclude_none=True)
    said = _File(format=1, task=task, data=reading, null_threshold=null_threshold)
    write_whole(folder / FILE, to_json(said.model_dump()))
