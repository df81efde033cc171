"""The schedule of a run, by steps or by time: the learning rate, and when to log, evaluate, save and stop."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.console import warn
from llmkit.system.processes import LastMaximum, max_over_processes
from llmkit.training.batches import EpochBatches
from llmkit.training.checkpoints import seconds_of

# The interval we give the Trainer for logging, evaluating and saving: Schedule decides about these.
NEVER = 10**9


class Schedule(TrainerCallback):
    """The schedule of a run, and its clock.

    `share` is the share of the steps or of the time budget that is done, from 0 to 1. The learning rate, logging and
    evaluations all follow it, so a run with a time budget decays and stops like one with a number of steps.
    """

    def __init__(self, train: TrainSection) -> None:
        self._train = train
        self._earlier = 0.0  # seconds trained before this process started
        self._began = time.monotonic()
        self._share_at_start = self._previous = self.share = 0.0
        self._steps = NEVER
        self._latest = LastMaximum()

    def resume(self, checkpoint: Path) -> None:
        """Count the training time before a checkpoint towards the time budget."""
        self._earlier = seconds_of(checkpoint)

    def seconds(self) -> float:
        """Seconds of training so far, including those before a resume."""
        return self._earlier + time.monotonic() - self._began

    def share_at(self, step: int) -> float:
        """The share of the run that is done when the batches of a step are drawn, in a run that has begun.

        By steps it does not depend on when that happens. By time it is the share of now, on which all processes agree.
        """
        return self.share if self._train.time_budget else min(1.0, step / self._steps)

    def left(self) -> float:
        """Estimated seconds until the end of the run; infinite before the first step."""
        if self._train.time_budget:
            return max(0.0, self._train.time_budget - self.seconds())
        progress = self.share - self._share_at_start
        return (time.monotonic() - self._began) * (1 - self.share) / progress if progress else math.inf

    def learning_rate_factor(self, step: int, max_steps: int) -> float:
        """The factor of the learning rate: linear warm-up, then the decay of the recipe."""
        share = self.share if self._train.time_budget else step / max_steps
        warm_up = self._train.warmup_steps
        warm_share = warm_up if warm_up < 1 else warm_up / max_steps
        if share < warm_share:
            return share / warm_share
        if self._train.lr_scheduler_type == "constant":
            return 1.0
        left = max(0.0, (1 - share) / (1 - warm_share)) if warm_share < 1 else 0.0
        return left if self._train.lr_scheduler_type == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock."""
        self._steps = state.max_steps
        self._began = time.monotonic()
        seconds = max_over_processes(self.seconds()) if self._train.time_budget else 0.0
        self.share = self._share_of(state, seconds)
        self._share_at_start = self._previous = self.share
        if self._train.warmup_steps >= state.max_steps:
            warn(
                f"train.warmup_steps {self._train.warmup_steps:,.0f} does not end within {state.max_steps:,} steps: "
                f"the learning rate never reaches {self._train.learning_rate}"
            )

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Read the clock once per step, before the learning rate is set, so that all processes agree on it.

        Several processes agree on what their clocks showed a step ago: none waits for the others' answer.
        """
        self._previous = self.share
        if self._train.time_budget:
            self.share = max(self.share, self._share_of(state, self._latest(self.seconds())))

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Request what is due."""
        if not self._train.time_budget:
            self.share = self._share_of(state)
        done = self.share >= 1
        if done or self._due(self._train.logging_steps, state):
            control.should_log = True
        if done or self._due(self._train.eval_steps, state):
            control.should_evaluate = control.should_save = True
        if self._train.save_steps is not None and self._due(self._train.save_steps, state):
            control.should_save = True
        if done:
            control.should_training_stop = True

    def _share_of(self, state: TrainerState, seconds: float = 0.0) -> float:
        if self._train.time_budget:
            return min(1.0, seconds / self._train.time_budget)
        return state.global_step / state.max_steps

    def _due(self, every: float, state: TrainerState) -> bool:
        """Whether this step reached a multiple of `every`: a number of steps, or below 1 a share of the run."""
        if every >= 1:
            return state.global_step % every == 0
        return math.floor(self.share / every + 1e-9) > math.floor(self._previous / every + 1e-9)


class SetEpoch(TrainerCallback):
    """Sets the epoch of the batches. The wrappers around a sampler do not always do so, after a resume or with several
    processes."""

    def __init__(self, batches: EpochBatches) -> None:
        self._batches = batches

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Derive the epoch from the step: the Trainer's own epoch is a float."""
        self._batches.epoch = state.global_step // self._batches.steps
