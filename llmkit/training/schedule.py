"""How far a run is, by steps or by the clock, and what is due: a report, an evaluation, the end."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.console import warn
from llmkit.system.processes import from_first
from llmkit.training.checkpoints import seconds_of

# Pace decides when to log, evaluate and save; the Trainer's own schedule never comes round.
NEVER = 10**9


class Pace(TrainerCallback):
    """The run's clock and schedule.

    `share` is the part of the run that is done: of its steps, or of its time budget. The learning rate, the
    reports and the evaluations follow it, so a run that is bounded by time ends like one bounded by steps.
    """

    def __init__(self, train: TrainSection) -> None:
        self._train = train
        self._earlier = 0.0  # seconds trained before this process started
        self._began = time.monotonic()
        self._share_at_start = self._previous = self.share = 0.0

    def resume(self, checkpoint: Path) -> None:
        """Go on where a checkpoint was written: the rest of the time is left, not all of it again."""
        self._earlier = seconds_of(checkpoint)

    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._earlier + time.monotonic() - self._began

    def left(self) -> float:
        """Seconds that the run will still take."""
        if self._train.time_budget:
            return max(0.0, self._train.time_budget - self.seconds())
        done = self.share - self._share_at_start
        return (time.monotonic() - self._began) * (1 - self.share) / done if done else math.inf

    def learning_rate_factor(self, step: int, max_steps: int) -> float:
        """What the learning rate is multiplied by: linear warm-up, then the recipe's schedule down to 0."""
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
        self._began = time.monotonic()
        self.share = self._share_now(state)
        self._share_at_start = self._previous = self.share
        if self._train.warmup_steps >= state.max_steps:
            warn(
                f"train.warmup_steps {self._train.warmup_steps:,.0f} is not over within {state.max_steps:,} steps: "
                f"the learning rate never reaches {self._train.learning_rate}"
            )

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Read the clock once a step, before the learning rate is set, alike on every process."""
        self._previous = self.share
        if self._train.time_budget:
            self.share = self._share_now(state)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Say what is due."""
        if not self._train.time_budget:
            self.share = self._share_now(state)
        over = self.share >= 1
        if over or self._due(self._train.logging_steps, state):
            control.should_log = True
        if over or self._due(self._train.eval_steps, state):
            control.should_evaluate = control.should_save = True
        if self._train.save_steps is not None and self._due(self._train.save_steps, state):
            control.should_save = True
        if over:
            control.should_training_stop = True

    def _share_now(self, state: TrainerState) -> float:
        if self._train.time_budget:
            return min(1.0, from_first(self.seconds()) / self._train.time_budget)
        return state.global_step / state.max_steps

    def _due(self, every: float, state: TrainerState) -> bool:
        """Whether a multiple of `every` was passed: of steps, or below 1 of the run."""
        if every >= 1:
            return state.global_step % every == 0
        return math.floor(self.share / every + 1e-9) > math.floor(self._previous / every + 1e-9)
