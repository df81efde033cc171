"""A run ends early where an evaluation shows that it is not worth going on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.system.console import is_main
from llmkit.system.errors import EndedEarly
from llmkit.system.processes import from_first
from llmkit.training.schedule import Schedule

SPARED = 0.25  # of a run: where the learning rate warms up, scores say little about those of the end


class EndEarly(TrainerCallback):
    """Asks `hopeless` after every evaluation from a quarter of the run on but the last, once its scores are logged.

    If it says so, the step is saved and the run stops. `ended` says whether it did.
    A run that was killed before it stopped is asked again when it is resumed.
    """

    def __init__(self, hopeless: Callable[[], bool] | None, schedule: Schedule) -> None:
        self._hopeless, self._schedule = hopeless, schedule
        self.ended = False

    def raise_if_ended(self, step: int, run: Path) -> None:
        """Raises EndedEarly if the run ended early, after a step."""
        if self.ended:
            raise EndedEarly(f"{run} ended early, after step {step:,}")

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask about the step from which the run is resumed, if it was evaluated."""
        if any(record["step"] == state.global_step and "eval_runtime" in record for record in state.log_history):
            self._ask(control)

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask, and save the step."""
        self._ask(control)
        control.should_save = control.should_save or self.ended

    def _ask(self, control: TrainerControl) -> None:
        """Ask on the first process, and stop all of them."""
        if self._hopeless is None or not SPARED <= self._schedule.share < 1:
            return
        if from_first(self._hopeless() if is_main() else None):
            self.ended = control.should_training_stop = True
