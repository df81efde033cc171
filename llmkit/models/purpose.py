"""What a model was fine-tuned for: its task, how it reads its inputs, and when it abstains.

A run says so by its recipe and its scores. A model that has left its run, copied or published, says so by a file beside
its config.json:

    llmkit.json  {"format": 1, "task": "squad_v2", "data": {"max_length": 384, …}, "null_threshold": -1.25}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from llmkit.models.checkpoint import check_length, positions_of
from llmkit.recipes.finetuning import DataSection, data_class
from llmkit.recipes.pretraining import Section
from llmkit.recipes.reading import recipe_from
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text, to_json, write_whole
from llmkit.system.hub import file_of
from llmkit.system.run_folder import RunDir, resolve_model
from llmkit.tasks import TASKS, task_named
from llmkit.tasks.base import Task

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


@dataclass(frozen=True)
class Settings:
    """What a run says of how it is to be evaluated."""

    task: Task[Any]
    data: DataSection
    threshold: float | None


def settings_of(model: str, task: str | None, data: str | None, overrides: Sequence[str] = ()) -> Settings:
    """The task, data and null threshold for a run or checkpoint: the run's own, where it has any.

    `data` names other data than the run's: a Hub id, folder or file. `overrides` say how it is read. Raises UserError
    where the model says nothing of a task or data and none is given.
    """
    purpose = purpose_of(model, told=task is not None)
    if task is None and purpose is None:
        raise UserError(f"{model} does not say what task it is for", remedy="name it: --task squad")
    own = purpose.data if purpose else {}
    if data is None and not own.keys() & DataSection.origin():
        raise UserError(f"{model} does not say what data to evaluate it on", remedy="name it: --data PATH")
    meant = task_named(purpose.task) if purpose else None
    chosen = task_named(task) if task else meant
    assert chosen is not None
    if meant is not None and meant.head != chosen.head:
        raise UserError(
            f"{model} was fine-tuned for {meant.name}, whose answers are of another kind than those of {chosen.name}",
            remedy="leave --task out",
        )
    section = data_section(model, chosen, own, data, overrides)
    return Settings(chosen, section, purpose.null_threshold if purpose and chosen is meant else None)


def data_section(
    model: str, task: Task[Any], own: dict[str, Any], data: str | None, overrides: Sequence[str] = ()
) -> DataSection:
    """The run's `own` data section, from other `data` where these are given, with `overrides`.

    For a checkpoint, which has none, the default one, with texts no longer than the model can read and write. Raises
    UserError where a run's own is not valid, and where texts may be longer than that.
    """
    kind = data_class(task.head)
    options = {key: value for key, value in own.items() if data is None or key not in DataSection.origin()}
    positions = dict(zip(("max_length", "max_target_length"), positions_of(model), strict=True))
    limits = {key: most for key, most in positions.items() if key in kind.model_fields and most is not None}
    if not own:
        options |= {key: most for key, most in limits.items() if most < kind.model_fields[key].default}
        if "doc_stride" in kind.model_fields and "max_length" in options:
            options["doc_stride"] = options["max_length"] // 3
    try:
        section = kind(**options, **(data_origin(data, task) if data is not None else {}))
    except ValidationError as error:
        raise UserError(
            f"{model}: what it says of how data is read is not valid: {error.errors()[0]['msg']}", remedy="correct it"
        ) from None
    section = _overridden(section, overrides)
    for key, most in limits.items():
        check_length(getattr(section, key), most, model, key)
    return section


def data_origin(data: str, task: Task[Any]) -> dict[str, Any]:
    """A file stands for every split; anything else is a folder, a Hub id or `demo`."""
    if Path(data).is_file():
        return {"train": data, "validation": data, "test": data}
    own = data == task.hub_id
    return {
        "path": data,
        "name": task.hub_name if own else None,
        "revision": task.hub_revision if own else None,
    }


def _overridden(data: DataSection, overrides: Sequence[str]) -> DataSection:
    for override in overrides:
        if not override.startswith("data."):
            raise UserError(
                f"override {override}: what is evaluated on is all there is to override here",
                remedy="give keys of data, for instance data.label_column=stars",
            )
    keys = [override.removeprefix("data.") for override in overrides]
    return recipe_from(type(data), data.model_dump(exclude_none=True, exclude_unset=True), keys)
