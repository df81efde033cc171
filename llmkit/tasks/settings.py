"""How a model is to be evaluated: its checkpoint, task, data and null threshold, its own or the user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmkit.models.checkpoint import Checkpoint, check_length
from llmkit.recipes.finetuning import DataSection
from llmkit.recipes.reading import recipe_from
from llmkit.system.errors import UserError
from llmkit.tasks import task_named
from llmkit.tasks.base import Task
from llmkit.tasks.purpose import purpose_of


@dataclass(frozen=True)
class Settings:
    """A trained model, and how it is used."""

    checkpoint: Checkpoint
    task: Task[Any]
    data: DataSection
    threshold: float | None


def settings_of(name: str, task: str | None, data: str | None, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a run or a checkpoint: what it says itself, unless the user says otherwise.

    `data` names other data than the run's: a Hub id, folder or file. `overrides` say how to read it. Raises UserError
    where neither the model nor the user names a task or data.
    """
    purpose = purpose_of(name, told=task is not None)
    if task is None and purpose is None:
        raise UserError(f"{name} does not say what task it is for", remedy="name it: --task squad")
    own = purpose.data if purpose else {}
    if data is None and not own.keys() & DataSection.origin():
        raise UserError(f"{name} does not say what data to evaluate it on", remedy="name it: --data PATH")
    meant = purpose.task if purpose else None
    chosen = task_named(task) if task else meant
    assert chosen is not None
    if meant is not None and not meant.is_like(chosen):
        raise UserError(
            f"{name} was fine-tuned for {meant.name}, whose answers are of another kind than those of {chosen.name}",
            remedy="leave --task out",
        )
    checkpoint = Checkpoint.named(name)
    section = data_section(checkpoint, chosen, own, data, overrides)
    return Settings(checkpoint, chosen, section, purpose.null_threshold if purpose and chosen is meant else None)


def data_section(
    checkpoint: Checkpoint, task: Task[Any], own: dict[str, Any], data: str | None, overrides: Sequence[str] = ()
) -> DataSection:
    """The run's `own` data section, for other `data` where given, with `overrides`.

    A checkpoint without one gets the default, with texts no longer than the model can read and write. Raises
    UserError where a run's own is not valid, and where texts may be longer than that.
    """
    kind = task.data_class
    options = {key: value for key, value in own.items() if data is None or key not in DataSection.origin()}
    positions = {"max_length": checkpoint.positions, "max_target_length": checkpoint.target_positions}
    limits = {key: most for key, most in positions.items() if key in kind.model_fields and most is not None}
    if not own:
        options |= {key: most for key, most in limits.items() if most < kind.model_fields[key].default}
        if "doc_stride" in kind.model_fields and "max_length" in options:
            options["doc_stride"] = options["max_length"] // 3
    try:
        section = kind(**options, **(data_origin(data, task) if data is not None else {}))
    except ValidationError as error:
        raise UserError(
            f"{checkpoint.name}: its data section is not valid: {error.errors()[0]['msg']}", remedy="correct it"
        ) from None
    section = overridden(section, overrides)
    for key, most in limits.items():
        check_length(getattr(section, key), most, checkpoint.name, key)
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


def overridden(data: DataSection, overrides: Sequence[str]) -> DataSection:
    """A data section with overrides such as `data.label_column=stars`. Raises UserError for other keys."""
    for override in overrides:
        if not override.startswith("data."):
            raise UserError(
                f"override {override}: only keys of data have an effect here",
                remedy="give keys of data, for instance data.label_column=stars",
            )
    keys = [override.removeprefix("data.") for override in overrides]
    return recipe_from(type(data), data.model_dump(exclude_none=True, exclude_unset=True), keys)
