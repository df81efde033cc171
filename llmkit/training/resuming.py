"""What a resumed run must have in common with its start: recipe, data and batch; and what may differ: processes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from pydantic import ValidationError

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe, TrainSection
from llmkit.recipes.reading import dump
from llmkit.system.console import say
from llmkit.system.errors import UserError, differences
from llmkit.system.run_folder import RunDir
from llmkit.training.lengthening import check_can_lengthen, is_longer, longer, with_length_of

Recipe = TypeVar("Recipe", PretrainRecipe, FinetuneRecipe)


def check_same_recipe(run: RunDir, recipe: Recipe, processes: int) -> Recipe:
    """The recipe to resume a run with, for the number of processes that the run was started with: the given one, with
    the smaller micro-batches of either recipe.

    The given one may be the recipe of the start, make the same batch on the `processes` of now, or train longer. Raises
    UserError if the recipes differ otherwise, or if the run cannot become longer. Keys that the llmkit which started
    the run did not know count as their defaults.
    """
    before, becomes_longer = run.recipe(), False
    with suppress(ValidationError):  # a recipe that is no longer valid is compared as it is
        started, number = type(recipe).model_validate(before), run.environment()["processes"]
        becomes_longer = is_longer(started.train, recipe.train)
        if becomes_longer:
            started = started.model_copy(update={"train": with_length_of(started.train, recipe.train)})
        if _share(recipe.train) * processes == _share(started.train) * number:
            recipe = recipe.model_copy(update={"train": same_batch(recipe.train, processes, number)})
        recipe = recipe.model_copy(update={"train": _smaller(recipe.train, started.train)})
        started, recipe = _evaluated_as_before(started, before), _evaluated_as_before(recipe, before)
        before = yaml.safe_load(dump(started.model_copy(update={"train": _smaller(started.train, recipe.train)})))
    now = yaml.safe_load(dump(recipe))
    for found in (before, now):
        for key in ("dataloader_num_workers", "report_to"):  # they change nothing about a run
            found.get("train", {}).pop(key, None)
    if different := differences(before, now):
        raise UserError(
            f"{run.path} was started with another recipe: {'; '.join(different)}",
            remedy=f"resume it with its own recipe: -r {run.path / 'recipe.yaml'}",
        )
    if becomes_longer:
        check_can_lengthen(run, started)
    return recipe


def _evaluated_as_before(recipe: Recipe, before: Mapping[str, Any]) -> Recipe:
    """The recipe with the evaluation of the run. An llmkit that did not know `eval_mlm_probability` evaluated with the
    masks of training: in the middle of a run, losses of another kind could not be compared.

    `eval_mlm_probability` is then None, which also keeps the attention dropout of a checkpoint that it continues."""
    if not isinstance(recipe, PretrainRecipe) or "eval_mlm_probability" in before["corpus"]:
        return recipe
    if "eval_mlm_probability" in recipe.corpus.model_fields_set:
        return recipe
    return recipe.model_copy(update={"corpus": recipe.corpus.model_copy(update={"eval_mlm_probability": None})})


def _share(train: TrainSection) -> int:
    """The examples of a step on each process."""
    return train.per_device_train_batch_size * train.gradient_accumulation_steps


def _smaller(train: TrainSection, other: TrainSection) -> TrainSection:
    """`train` with the batch sizes of `other` that are smaller and make the same batch."""
    update: dict[str, int] = {}
    given, others = train.per_device_eval_batch_size, other.per_device_eval_batch_size
    if others is not None and (given is None or others < given):
        update["per_device_eval_batch_size"] = others
    if other.per_device_train_batch_size < train.per_device_train_batch_size and _share(other) == _share(train):
        update["per_device_train_batch_size"] = other.per_device_train_batch_size
        update["gradient_accumulation_steps"] = other.gradient_accumulation_steps
    return train.model_copy(update=update)


def run_folder(recipe: PretrainRecipe | FinetuneRecipe, output: Path | None) -> Path:
    """The folder of a run: `output`, or one with the recipe's name."""
    return output or Path("runs") / recipe.name


def finished_run(recipe: Recipe, output: Path | None, processes: int) -> RunDir | None:
    """The run of a recipe, if it is finished and does not become longer. Raises UserError if its folder has a run of
    another recipe."""
    run = RunDir(run_folder(recipe, output))
    if not is_finished(run, recipe, processes):
        return None
    say(f"{run.path} is finished: nothing is left to do")
    return run


def is_finished(run: RunDir, recipe: Recipe, processes: int) -> bool:
    """Whether a run is finished and does not become longer. Raises UserError if it has another recipe."""
    if not (run.started and run.finished):
        return False
    check_same_recipe(run, recipe, processes)
    return not longer(run, recipe)


def same_batch(train: TrainSection, before: int, now: int) -> TrainSection:
    """The settings that make on `now` processes the batch that `train` makes on `before`, in no larger micro-batches.

    Raises UserError if the batch cannot be shared out evenly.
    """
    batch = _share(train) * before
    if batch % now:
        able = ", ".join(str(number) for number in range(1, 2 * now) if batch % number == 0)
        raise UserError(
            f"{now} processes cannot share the run's batch of {batch} examples evenly",
            remedy=f"resume it on a number of processes that can: {able}",
        )
    share = batch // now
    size = next(size for size in range(train.per_device_train_batch_size, 0, -1) if share % size == 0)
    sizes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": share // size}
    return train.model_copy(update=sizes)


def new_random_numbers(seed: int, step: int, process: int) -> None:
    """Start new streams of random numbers, for the dropout of a process from a step on."""
    import torch

    state = np.random.SeedSequence([seed, step, process]).generate_state(1)
    number = int(state[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def check_same_data(run: RunDir, data: Mapping[str, Any]) -> None:
    """Raises UserError if the run was started on other data."""
    if different := differences(run.environment()["data"], json.loads(json.dumps(data))):
        raise UserError(
            f"{run.path} was started on other data: {'; '.join(different)}",
            remedy="restore the data, or start again in another folder with -o",
        )
