"""`--auto-batch`: a batch in the largest pieces that fit into memory, found before a run begins.

The batch itself stays as the recipe says, and so do the examples of each step: half the micro-batch is made up for by
twice the accumulation. The pieces that were found take the place of the recipe's, so the run is the one that it would
be had they been given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from torch.nn.parallel import DistributedDataParallel

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe, TrainSection
from llmkit.recipes.reading import dump
from llmkit.system.console import say
from llmkit.system.machine import give_memory_back
from llmkit.system.out_of_memory import OutOfMemory, is_out_of_memory, smaller_pieces
from llmkit.system.processes import anyone
from llmkit.system.run_folder import RunDir
from llmkit.training.trainer import Trainer

Recipe = PretrainRecipe | FinetuneRecipe


def fitted(recipe: Recipe, trainer_for: Callable[[RunDir], Trainer], longest: Sequence[int]) -> Recipe:
    """The recipe, in pieces that fit. Raises OutOfMemory where a micro-batch of one does not.

    `trainer_for` makes a trainer on a copy of the model, with which steps are tried. `longest` are the numbers of all
    items, the longest first.
    """
    with TemporaryDirectory() as folder:
        train = _fitted(recipe.train, trainer_for(RunDir(Path(folder))), longest)
    clear_device_cache(garbage_collection=True)
    return recipe.model_copy(update={"train": train})


def pieces_of(recipe: Recipe) -> dict[str, int]:
    """How a recipe's batches are cut."""
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size")
    return {name: getattr(recipe.train, name) for name in names}


@contextmanager
def smaller_next_time(run: RunDir, recipe: Recipe) -> Iterator[None]:
    """Where memory runs out after all, give the run's recipe the next smaller pieces, for it to go on with.

    (Memory falls into pieces too, and others may take of it.) Raises OutOfMemory with `restart` set.
    """
    try:
        yield
    except OutOfMemory as error:
        if error.smaller:
            train = recipe.train.model_copy(update=error.smaller)
            run.write_text("recipe.yaml", dump(recipe.model_copy(update={"train": train})))
            now = ", ".join(f"train.{name}={value}" for name, value in error.smaller.items())
            error.remedy = f"go on with the same command and --resume -o {run.path}: its recipe has {now} now"
            error.restart = True
        raise


def _fitted(train: TrainSection, trainer: Trainer, longest: Sequence[int]) -> TrainSection:
    model: Any
    model, _ = trainer._prepare_for_training(1, trainer.get_train_dataloader(), None)  # type: ignore[no-untyped-call]
    if isinstance(model, DistributedDataParallel):  # whose passes start with a collective, and whose buffers it holds
        model = trainer.network
    asked = train
    while not _fits(_steps, trainer, longest, train.per_device_train_batch_size, model):
        smaller = smaller_pieces(train.per_device_train_batch_size, train.gradient_accumulation_steps)
        if not smaller:
            raise _one_is_too_much(trainer, longest)
        train = train.model_copy(update=smaller)
    while not _fits(_evaluation, trainer, longest, train.per_device_eval_batch_size):
        if train.per_device_eval_batch_size == 1:
            raise _one_is_too_much(trainer, longest)
        train = train.model_copy(update={"per_device_eval_batch_size": train.per_device_eval_batch_size // 2})
    if train == asked:
        say(f"--auto-batch: {_pieces(train)} fit into memory")
    else:
        say(f"--auto-batch: {_pieces(asked)} do not fit into memory, {_pieces(train)} do: the same batch")
    return train


def _fits(attempt: Callable[..., None], trainer: Trainer, longest: Sequence[int], size: int, *model: Any) -> bool:
    """Whether no process runs out of memory over an attempt with the longest items."""
    try:
        attempt(trainer, _batch(trainer, longest, size), *model)
        full = False
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        full = True
    clear_device_cache(garbage_collection=True)
    give_memory_back()
    return not anyone(full)


def _batch(trainer: Trainer, longest: Sequence[int], size: int) -> dict[str, torch.Tensor]:
    """The micro-batch that takes the most memory: of the longest items.

    Where there are too few of them, one process has a smaller micro-batch; of several each gets a full one.
    """
    if trainer.args.world_size == 1:
        size = min(size, len(longest))
    items = [trainer.data[int(longest[number % len(longest)])] for number in range(size)]
    batch: dict[str, torch.Tensor] = trainer.data_collator(items)
    return batch


def _steps(trainer: Trainer, batch: dict[str, torch.Tensor], model: Any) -> None:
    """A step, and the gradient of another, beside which the optimizer has its moments and the first its gradient.

    Processes ask each other for nothing once a step has begun: one that has no room would leave the others waiting.
    """
    assert trainer.optimizer is not None
    trainer.current_gradient_accumulation_steps = 1
    _, targets = trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)
    trainer.training_step(model, dict(batch), targets)
    trainer.optimizer.step()
    trainer.training_step(model, dict(batch), targets)
    model.zero_grad()


def _evaluation(trainer: Trainer, batch: dict[str, torch.Tensor]) -> None:
    trainer.network.eval()
    with torch.inference_mode():
        inputs = {name: tensor.to(trainer.args.device) for name, tensor in batch.items()}
        if "decoder_input_ids" in inputs:  # encoder-decoders ask not to be given labels
            del inputs["labels"]
        trainer.network(**inputs)


def _one_is_too_much(trainer: Trainer, longest: Sequence[int]) -> OutOfMemory:
    length = _batch(trainer, longest, 1)["input_ids"].shape[1]
    return OutOfMemory(f"on a single example of {length} tokens", MemoryError(), {})


def _pieces(train: TrainSection) -> str:
    return (
        f"{train.per_device_train_batch_size} × {train.gradient_accumulation_steps} examples "
        f"({train.per_device_eval_batch_size} in evaluations)"
    )
