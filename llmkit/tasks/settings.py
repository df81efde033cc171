"""The settings to evaluate a model with: checkpoint, task, data and null threshold. The user's choices come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from llmkit.models.checkpoint import Checkpoint, check_length
from llmkit.recipes.finetuning import DataSection
from llmkit.recipes.reading import recipe_from
from llmkit.system.errors import UserError
from llmkit.system.run_folder import Threshold
from llmkit.tasks import task_named
from llmkit.tasks.base import Task
from llmkit.tasks.purpose import purpose_of
from llmkit.tasks.rows.splits import names_files


@dataclass(frozen=True)
class Settings:
    """A trained model, and the settings to use it with."""

    checkpoint: Checkpoint
    task: Task[Any]
    data: DataSection
    threshold: Threshold | None


def settings_of(name: str, task: str | None, data: str | None, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a run or a checkpoint, with the user's `task`, `data` and `overrides` in place of its own.

    `data` is a Hub id, folder, file or pattern. None means the run's data, or the dataset of a `task` that is not the
    run's. `overrides` set keys of the data section. Raises UserError if neither the model nor the user names a task, or
    data.
    """
    purpose = purpose_of(name, task_given=task is not None)
    if task is None and purpose is None:
        raise UserError(f"{name} does not say what task it is for", remedy="name it: --task squad")
    own = purpose.data if purpose else {}
    trained_for = purpose.task if purpose else None
    chosen = task_named(task) if task else trained_for
    assert chosen is not None
    if data is None and chosen.hub_id is not None and _asks_for_its_own_data(chosen, trained_for, overrides):
        data = chosen.hub_id
    if data is None and not own.keys() & DataSection.origin():
        raise UserError(f"{name} does not say what data to evaluate it on", remedy="name it: --data PATH")
    if trained_for is not None and not trained_for.is_compatible(chosen):
        raise UserError(
            f"{name} was fine-tuned for {trained_for.name}, which does not predict the same kind of answers as "
            f"{chosen.name}",
            remedy="leave out --task",
        )
    checkpoint = Checkpoint.named(name)
    section = data_section(checkpoint, chosen, own, data, overrides)
    threshold = purpose.null_threshold if purpose and chosen is trained_for else None
    return Settings(checkpoint, chosen, section, threshold)


def _asks_for_its_own_data(task: Task[Any], trained_for: Task[Any] | None, overrides: Sequence[str]) -> bool:
    """Whether the task's dataset on the Hub is meant: if the task is not the run's, or for a model, with data.name."""
    keys = {override.partition("=")[0].removeprefix("data.") for override in overrides}
    if keys & (DataSection.origin() - {"name", "revision", "max_samples"}):
        return False
    return task is not trained_for and (trained_for is not None or "name" in keys)


def data_section(
    checkpoint: Checkpoint, task: Task[Any], own: dict[str, Any], data: str | None, overrides: Sequence[str] = ()
) -> DataSection:
    """The run's `own` data section, with `data` and `overrides` in place of its own values.

    A checkpoint without one gets the defaults, with lengths capped to the model's positions. Raises UserError if a
    run's own section is invalid, or if its lengths exceed the model's positions.
    """
    kind = task.data_class
    options = {key: value for key, value in own.items() if data is None or key not in DataSection.origin()}
    positions = {"max_length": checkpoint.positions, "max_target_length": checkpoint.target_positions}
    limits = {key: limit for key, limit in positions.items() if key in kind.model_fields and limit is not None}
    if not own:
        options |= {key: limit for key, limit in limits.items() if limit < kind.model_fields[key].default}
        if "doc_stride" in kind.model_fields and "max_length" in options:
            options["doc_stride"] = options["max_length"] // 3
    try:
        section = kind(**options, **(data_origin(data, task) if data is not None else {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("data", *first["loc"])))
        raise UserError(
            f"{checkpoint.name}: its data section is not valid: {key}: {first['msg']}",
            remedy="correct recipe.yaml of the run, or llmkit.json of the model",
        ) from None
    section = overridden(section, overrides)
    for key, limit in limits.items():
        check_length(getattr(section, key), limit, checkpoint.name, key)
    return section


def data_origin(data: str, task: Task[Any]) -> dict[str, Any]:
    """The keys that name the data: files and URLs serve as every split; else it is a folder, Hub id or `demo`."""
    if names_files(data):
        return {"train": data, "validation": data, "test": data}
    own = data == task.hub_id
    return {
        "path": data,
        "name": task.hub_name if own else None,
        "revision": task.hub_revision if own else None,
    }


def overridden(data: DataSection, overrides: Sequence[str]) -> DataSection:
    """Apply overrides such as `data.label_column=stars`. The files of a split replace a dataset of all splits.

    Raises UserError for keys outside `data`.
    """
    for override in overrides:
        if not override.startswith("data."):
            raise UserError(
                f"override {override}: only keys of data have an effect here",
                remedy="give keys of data, for instance data.label_column=stars",
            )
    keys = [override.removeprefix("data.") for override in overrides]
    values = data.model_dump(exclude_none=True, exclude_unset=True)
    if {"train", "validation", "test"} & {key.partition("=")[0] for key in keys}:
        values = {key: value for key, value in values.items() if key not in ("path", "name", "revision")}
    return recipe_from(type(data), values, keys)
