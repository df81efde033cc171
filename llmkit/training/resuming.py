"""Check that a run is resumed with the same recipe, on the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe, TrainSection
from llmkit.recipes.reading import dump
from llmkit.system.errors import UserError, differences
from llmkit.system.run_folder import RunDir

Recipe = TypeVar("Recipe", PretrainRecipe, FinetuneRecipe)


def check_same_recipe(run: RunDir, recipe: Recipe) -> Recipe:
    """The recipe to resume a run with: the given one, with the smaller micro-batches of either recipe.

    Raises UserError if the recipes differ otherwise. Keys that the llmkit which started the run did not know count as
    their defaults.
    """
    before = run.recipe()
    with suppress(ValidationError):  # a recipe that is no longer valid is compared as it is
        started = type(recipe).model_validate(before)
        recipe = recipe.model_copy(update={"train": _smaller(recipe.train, started.train)})
        before = yaml.safe_load(dump(started.model_copy(update={"train": _smaller(started.train, recipe.train)})))
    now = yaml.safe_load(dump(recipe))
    for found in (before, now):
        found["train"].pop("dataloader_num_workers", None)  # they change nothing about a run
    if different := differences(before, now):
        raise UserError(
            f"{run.path} was started with another recipe: {'; '.join(different)}",
            remedy=f"resume it with its own recipe: -r {run.path / 'recipe.yaml'}",
        )
    return recipe


def _smaller(train: TrainSection, other: TrainSection) -> TrainSection:
    """`train` with the batch sizes of `other` that are smaller and make the same batch."""
    update: dict[str, int] = {}
    if other.per_device_eval_batch_size < train.per_device_eval_batch_size:
        update["per_device_eval_batch_size"] = other.per_device_eval_batch_size
    if (
        other.per_device_train_batch_size < train.per_device_train_batch_size
        and other.per_device_train_batch_size * other.gradient_accumulation_steps
        == train.per_device_train_batch_size * train.gradient_accumulation_steps
    ):
        update["per_device_train_batch_size"] = other.per_device_train_batch_size
        update["gradient_accumulation_steps"] = other.gradient_accumulation_steps
    return train.model_copy(update=update)


def check_same_data(run: RunDir, data: Mapping[str, Any]) -> None:
    """Raises UserError if the run was started on other data."""
    path = run.path / "env.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not readable: {error}", remedy="start the run again, in another folder") from None
    if different := differences(before, json.loads(json.dumps(data))):
        raise UserError(
            f"{run.path} was started on other data: {'; '.join(different)}",
            remedy="restore the data, or start again in another folder with -o",
        )
