"""`--auto-batch`: find the largest micro-batch that fits in memory, before the run starts.

The batch and the examples of each step stay those of the recipe: halving the micro-batch doubles the accumulation. The
result is the same as if the recipe had given these sizes.
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

from llmkit.models.eval_batches import rows_at_a_time
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe, TrainSection
from llmkit.recipes.reading import dump
from llmkit.system.console import say
from llmkit.system.machine import give_memory_back
from llmkit.system.out_of_memory import OutOfMemory, is_out_of_memory, smaller_micro_batch
from llmkit.system.processes import any_process, world_size
from llmkit.system.run_folder import RunDir
from llmkit.tasks.distillation import TYPES
from llmkit.training.resuming import same_batch
from llmkit.training.trainer import Trainer

Recipe = PretrainRecipe | FinetuneRecipe


def fit_to_memory(recipe: Recipe, trainer_for: Callable[[RunDir], Trainer], longest: Sequence[int]) -> Recipe:
    """The recipe with batch sizes that fit in memory. Raises OutOfMemory if a micro-batch of one example does not.

    `trainer_for` returns a trainer on a copy of the model, which trial steps may change. `longest` has the numbers of
    all items, longest first.
    """
    with TemporaryDirectory() as folder:
        train = _find_sizes(recipe.train, trainer_for(RunDir(Path(folder))), longest)
    clear_device_cache(garbage_collection=True)
    return recipe.model_copy(update={"train": train})


def batch_sizes(recipe: Recipe) -> dict[str, int]:
    """The recipe's batch sizes that are numbers, by their keys."""
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size")
    return {name: size for name in names if (size := getattr(recipe.train, name)) is not None}


@contextmanager
def shrink_on_out_of_memory(run: RunDir, recipe: Recipe, started: int) -> Iterator[None]:
    """If memory runs out after all, write the next smaller sizes to the run's recipe and re-raise with `restart` set.

    `recipe` is for this number of processes, and the run's recipe for the number that it was `started` with.

    Memory may become fragmented, and other programs may use some of it.
    """
    try:
        yield
    except OutOfMemory as error:
        if error.smaller:
            train = recipe.train.model_copy(update=error.smaller)
            recorded = same_batch(train, world_size(), started)
            run.write_text("recipe.yaml", dump(recipe.model_copy(update={"train": recorded})))
            now = ", ".join(f"train.{name}={value}" for name, value in error.smaller.items())
            error.remedy = f"continue with the same command and --resume -o {run.path}; its recipe now has {now}"
            error.restart = True
        raise


def _find_sizes(train: TrainSection, trainer: Trainer, longest: Sequence[int]) -> TrainSection:
    model: Any
    model, _ = trainer._prepare_for_training(1, trainer.get_train_dataloader(), None)  # type: ignore[no-untyped-call]
    if isinstance(model, DistributedDataParallel):  # its passes start with a collective; its buffers are allocated now
        model = trainer.network
    given = train
    while not _fits(_try_steps, trainer, longest, train.per_device_train_batch_size, model):
        smaller = smaller_micro_batch(train.per_device_train_batch_size, train.gradient_accumulation_steps)
        if not smaller:
            raise _single_example_too_long(trainer, longest)
        train = train.model_copy(update=smaller)
    size = train.per_device_eval_batch_size or _rows_of_an_evaluation(trainer, longest)
    while not _fits(_try_evaluation, trainer, longest, size):
        if size == 1:
            raise _single_example_too_long(trainer, longest)
        size //= 2
        train = train.model_copy(update={"per_device_eval_batch_size": size})
    if train == given:
        say(f"--auto-batch: {_sizes(train)} fit in memory")
    else:
        say(f"--auto-batch: {_sizes(given)} do not fit in memory, {_sizes(train)} do; the batch stays the same")
    return train


def _rows_of_an_evaluation(trainer: Trainer, longest: Sequence[int]) -> int:
    """How many of the longest items an evaluation computes at a time, if the recipe does not say."""
    length = _micro_batch(trainer, longest, 1)["input_ids"].shape[1]
    return rows_at_a_time(length, trainer.args.device, trainer.max_eval_rows)


def _fits(attempt: Callable[..., None], trainer: Trainer, longest: Sequence[int], size: int, *model: Any) -> bool:
    """Whether every process has enough memory for an attempt with the longest items."""
    try:
        attempt(trainer, _micro_batch(trainer, longest, size), *model)
        full = False
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        full = True
    clear_device_cache(garbage_collection=True)
    give_memory_back()
    return not any_process(full)


def _micro_batch(trainer: Trainer, longest: Sequence[int], size: int) -> dict[str, torch.Tensor]:
    """The micro-batch that needs the most memory: the longest items.

    If there are too few items, a single process gets a smaller micro-batch; several processes each get a full one.
    """
    if trainer.args.world_size == 1:
        size = min(size, len(longest))
    items: Any = trainer.data.__getitems__([int(longest[number % len(longest)]) for number in range(size)])
    batch: dict[str, torch.Tensor] = trainer.data_collator(items)
    return batch


def _try_steps(trainer: Trainer, batch: dict[str, torch.Tensor], model: Any) -> None:
    """Take a step, and compute the gradient of a second one while the optimizer's state is allocated.

    There is no collective once a step has started: a process that ran out of memory would leave the others waiting.
    """
    assert trainer.optimizer is not None
    trainer.current_gradient_accumulation_steps = 1
    _, targets = trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)
    trainer.training_step(model, dict(batch), targets)
    trainer.optimizer.step()
    trainer.training_step(model, dict(batch), targets)
    model.zero_grad()


def _try_evaluation(trainer: Trainer, batch: dict[str, torch.Tensor]) -> None:
    trainer.network.eval()
    with torch.inference_mode():
        inputs = {name: tensor.to(trainer.args.device) for name, tensor in batch.items() if name != TYPES}
        if trainer.compute_loss_func is not None:  # the loss is ours: given labels, the model would compute its own
            del inputs["labels"]
        trainer.network(**inputs)


def _single_example_too_long(trainer: Trainer, longest: Sequence[int]) -> OutOfMemory:
    length = _micro_batch(trainer, longest, 1)["input_ids"].shape[1]
    return OutOfMemory(f"on a single example of {length} tokens", MemoryError(), {})


def _sizes(train: TrainSection) -> str:
    sizes = f"{train.per_device_train_batch_size} × {train.gradient_accumulation_steps} examples"
    return f"{sizes} ({size} in evaluations)" if (size := train.per_device_eval_batch_size) else sizes
