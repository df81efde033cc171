"""Estimate time and memory of a run for `--dry-run`, by running a few of its steps and a part of an evaluation."""

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
from llmkit.training.flops import FlopCounter
from llmkit.training.reporting import TrainingLog
from llmkit.training.schedule import Schedule
from llmkit.training.trainer import Trainer

Array = np.ndarray[Any, np.dtype[Any]]

STEPS = 3  # to time, after one warm-up step


@dataclass(frozen=True)
class Estimate:
    """For one process: optimizer steps, tokens including padding, seconds of training, evaluations and their seconds,
    and peak memory in bytes (of the GPU, if there is one)."""

    steps: int
    tokens: int
    training: float
    evaluations: int
    evaluating: float
    memory: int


def estimate(trainer: Trainer, train: TrainSection, lengths: Array, *, evaluate_first: bool = False) -> Estimate:
    """Run a few steps of the trainer, which changes its model: throw both away afterwards.

    `lengths[i]` is the number of tokens of item i. `evaluate_first` counts an evaluation before the first step. The
    first step uses the longest micro-batch, to measure memory; the timed ones are spread from short to long.
    """
    epoch = trainer.batches.steps
    batches = [np.asarray(batch) for batch in trainer.batches]
    counter = FlopCounter(trainer.network)
    flops = np.array([float(counter.of(len(batch), int(lengths[batch].max()))) for batch in batches])
    order = np.argsort(flops)
    spread = [order[int((i + 0.5) * len(order) / STEPS)] for i in range(STEPS)]
    accumulation = train.gradient_accumulation_steps
    # One spare step: the clock must stop the Trainer before it reaches its last step, where it would save.
    chosen = [order[-1], *spread, order[0]]
    trainer.batches = _Chosen([batches[number] for number in chosen for _ in range(accumulation)], train)
    for callback in (TrainingLog, Schedule):
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
    evaluations = int(-(-steps // every)) + evaluate_first
    if train.time_budget is not None:  # evaluations count towards the budget
        steps = max(1, int((train.time_budget - evaluations * one_evaluation) / step))
    tokens = sum(len(batch) * int(lengths[batch].max()) for batch in batches) / epoch * steps
    return Estimate(steps, int(tokens), steps * step, evaluations, evaluations * one_evaluation, _peak_memory())


def show(found: Estimate, runs: int = 1) -> None:
    """Print the estimate, and how long so many runs like it take."""
    say(
        f"estimate, in one process: {found.steps:,} steps, {count(found.tokens)} tokens, "
        f"{duration(found.training)} of training and {duration(found.evaluating)} for "
        f"{found.evaluations} evaluation{'s' if found.evaluations != 1 else ''}, "
        f"{found.memory / 2**30:.1f} GiB of memory"
    )
    if runs > 1:
        say(f"{runs} such runs, one after another: {duration(runs * (found.training + found.evaluating))}")


class _Chosen(EpochBatches):
    """Given micro-batches, in a given order."""

    def __init__(self, batches: list[Array], train: TrainSection) -> None:
        super().__init__(len(batches) * train.per_device_train_batch_size, train.per_device_train_batch_size, 0)
        self._chosen = batches

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self._chosen)


class _Clock(TrainerCallback):
    """Records when each step ends, and stops the Trainer after the last timed one."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Record the time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        control.should_training_stop = len(self.ends) == STEPS + 1


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere
