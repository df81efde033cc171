"""The schedule of a run, by steps or by time: the learning rate, and when to log, evaluate, save and stop."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.console import warn
from llmkit.system.processes import LastMaximum, max_over_processes
from llmkit.training.batches import EpochBatches
from llmkit.training.checkpoints import is_stable, seconds_of

# The interval we give the Trainer for logging, evaluating and saving: Schedule decides about these.
NEVER = 10**9
# The kinds of schedule with a time when the learning rate is constant: with them, a run can become longer.
STABLE = ("constant", "warmup_stable_decay")


class Schedule(TrainerCallback):
    """The schedule of a run, and its clock.

    `share` is the share of the steps or of the time budget that is done, from 0 to 1. The learning rate, logging and
    evaluations all follow it, so a run with a time budget decays and stops like one with a number of steps.

    `stable` is whether the learning rate is past its warm-up and has not decayed: a longer run would have the same one.
    A warm-up that was over does not begin again where the run has become longer.
    """

    def __init__(self, train: TrainSection) -> None:
        self._train = train
        self._earlier = 0.0  # seconds trained before this process started
        self._began = time.monotonic()
        self._share_at_start = self._previous = self.share = 0.0
        self._steps = NEVER
        self._latest = LastMaximum()
        self.stable = False

    def resume(self, checkpoint: Path) -> None:
        """Go on with the clock and the learning rate of a checkpoint."""
        self._earlier = seconds_of(checkpoint)
        self.stable = is_stable(checkpoint) or False

    def seconds(self) -> float:
        """Seconds of training so far, including those before a resume."""
        return self._earlier + time.monotonic() - self._began

    def share_at(self, step: int) -> float:
        """How far data that change over the run have come, from 0 to 1, when the batches of a step are drawn.

        They change over the whole run, or with warmup_stable_decay over its decay, since what comes before is the same
        in a longer run. By steps this does not depend on when they are drawn. By time it is the share of now, on which
        all processes agree. The run has begun.
        """
        done, total, _, decay = self._phases(step, self._steps)
        start = decay if self._train.lr_scheduler_type == "warmup_stable_decay" else 0.0
        return min(1.0, max(0.0, done - start) / (total - start)) if total > start else 0.0

    def left(self) -> float:
        """Estimated seconds until the end of the run; infinite before the first step."""
        if self._train.time_budget:
            return max(0.0, self._train.time_budget - self.seconds())
        progress = self.share - self._share_at_start
        return (time.monotonic() - self._began) * (1 - self.share) / progress if progress else math.inf

    def learning_rate_factor(self, step: int, max_steps: int) -> float:
        """The factor of the learning rate: linear warm-up, then the decay of the recipe."""
        done, total, warm, decay = self._phases(step, max_steps)
        if done < warm and not self.stable:
            return done / warm
        if done <= decay:
            return 1.0
        left = max(0.0, (total - done) / (total - decay))
        if self._train.lr_scheduler_type == "warmup_stable_decay":
            return 1 - math.sqrt(1 - left)
        return left if self._train.lr_scheduler_type == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)

    def _phases(self, step: int, max_steps: int) -> tuple[float, float, float, float]:
        """What is done, the whole run, the end of the warm-up and the beginning of the decay: in steps, or in shares of
        the run.

        Steps give a longer run the same bits. Shares of the steps are for runs that cannot become longer: earlier
        versions computed them so, and a run that one started goes on with the same bits.
        """
        if self._train.time_budget:
            done, total = self.share, 1.0
        elif self._train.lr_scheduler_type in STABLE:
            done, total = float(step), float(max_steps)
        else:
            done, total = step / max_steps, 1.0
        warm, length = (
            duration * total if duration < 1 else duration * total / max_steps
            for duration in (self._train.warmup_steps, self._train.decay)
        )
        decays = {"constant": total, "warmup_stable_decay": total - length}
        return done, total, warm, max(warm, decays.get(self._train.lr_scheduler_type, 0.0))

    def _check_stable(self, state: TrainerState, control: TrainerControl) -> None:
        """Follow whether the learning rate is constant, and request a checkpoint before it decays."""
        if self._train.lr_scheduler_type not in STABLE:
            return
        done, _, warm, decay = self._phases(state.global_step, state.max_steps)
        # The learning rate of the step that ended, if by time, is the one of the share before it.
        used, following = (self._previous, done) if self._train.time_budget else (done, done + 1)
        self.stable = used <= decay and (self.stable or used >= warm)
        if self.stable and following > decay:
            control.should_save = True

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, lr_scheduler: LambdaLR | None = None, **_: Any
    ) -> None:
        """Start the clock; by time, also set the learning rate of a resumed run's first step."""
        self._steps = state.max_steps
        self._began = time.monotonic()
        seconds = max_over_processes(self.seconds()) if self._train.time_budget else 0.0
        self.share = self._share_of(state, seconds)
        self._share_at_start = self._previous = self.share
        if self._train.time_budget and state.global_step and lr_scheduler is not None:
            # A checkpoint has the learning rate of its share of the time. In a longer run that is another share.
            lr_scheduler.last_epoch -= 1
            lr_scheduler.step()
        if self._train.warmup_steps >= state.max_steps:
            warn(
                f"train.warmup_steps {self._train.warmup_steps:,.0f} does not end within {state.max_steps:,} steps: "
                f"the learning rate never reaches {self._train.learning_rate}"
            )
        elif self._train.phases(state.max_steps) > state.max_steps:
            warn(
                f"train.warmup_steps and train.decay_steps are more than the run's {state.max_steps:,} steps: the "
                "decay takes those after the warm-up"
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
        self._check_stable(state, control)
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
