"""What a run will take: found out by trying a few of its steps and of its evaluations, for `--dry-run`."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.console import count, duration, say
from llmkit.training.batches import EpochBatches
from llmkit.training.flops import Work
from llmkit.training.reporting import Report
from llmkit.training.schedule import Pace
from llmkit.training.trainer import Trainer, steps_an_epoch

Array = np.ndarray[Any, np.dtype[Any]]

STEPS = 3  # timed, after one that is not


@dataclass(frozen=True)
class Estimate:
    """Of one process: optimizer steps, tokens (padding included), seconds of training and of all evaluations,
    bytes of memory at the fullest moment (of the GPU, where there is one)."""

    steps: int
    tokens: int
    training: float
    evaluations: int
    evaluating: float
    memory: int


def estimate(trainer: Trainer, train: TrainSection, lengths: Array) -> Estimate:
    """Try steps of a trainer that is thrown away afterwards; its model is no longer what it was.

    `lengths[i]` is the number of tokens of item i. Steps are timed over micro-batches from short to long ones,
    after the longest, which says how much memory is needed.
    """
    epoch = steps_an_epoch(trainer.batches, trainer.args)
    batches = [np.asarray(batch) for batch in trainer.batches]
    work = Work(trainer.network)
    flops = np.array([work.of(len(batch), int(lengths[batch].max())) for batch in batches])
    order = np.argsort(flops)
    spread = [order[int((i + 0.5) * len(order) / STEPS)] for i in range(STEPS)]
    accumulated = train.gradient_accumulation_steps
    # One more than is needed: the clock stops the trainer before it believes that it is done, and saves.
    chosen = [order[-1], *spread, order[0]]
    trainer.batches = _Chosen([batches[number] for number in chosen for _ in range(accumulated)], train)
    for callback in (Report, Pace):
        trainer.remove_callback(callback)
    clock = _Clock()
    trainer.add_callback(clock)
    trainer.train()
    per_flop = sum(np.diff(clock.ends)) / sum(flops[number] for number in spread)
    step = float(flops.mean() * per_flop)
    one_evaluation = trainer.seconds_of_evaluation()
    if train.time_budget is not None:
        steps = max(1, int(train.time_budget / step))
    else:
        steps = train.max_steps or math.ceil((train.num_train_epochs or 1) * epoch)
    every = train.eval_steps if train.eval_steps >= 1 else max(1.0, train.eval_steps * steps)
    evaluations = int(-(-steps // every))
    if train.time_budget is not None:  # which evaluations count towards
        steps = max(1, int((train.time_budget - evaluations * one_evaluation) / step))
    tokens = sum(len(batch) * int(lengths[batch].max()) for batch in batches) / epoch * steps
    return Estimate(steps, int(tokens), steps * step, evaluations, evaluations * one_evaluation, _memory())


def show(found: Estimate) -> None:
    """The estimate, for people."""
    say(
        f"estimate, in one process: {found.steps:,} steps, {count(found.tokens)} tokens, "
        f"{duration(found.training)} of training and {duration(found.evaluating)} for "
        f"{found.evaluations} evaluation{'s' if found.evaluations != 1 else ''}, "
        f"{found.memory / 2**30:.1f} GiB of memory"
    )


class _Chosen(EpochBatches):
    """These micro-batches, in this order."""

    def __init__(self, batches: list[Array], train: TrainSection) -> None:
        super().__init__(len(batches) * train.per_device_train_batch_size, train.per_device_train_batch_size, 0)
        self._chosen = batches

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self._chosen)


class _Clock(TrainerCallback):
    """When each step ended; stops the trainer after the last one that is timed."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Note the time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        control.should_training_stop = len(self.ends) == STEPS + 1


def _memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # bytes there, KiB elsewhere
