"""Ctrl-C and SIGTERM: finish the step, or leave the evaluation, save, stop, and say how to go on."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.system.console import say
from llmkit.system.exits import reports_to_launcher
from llmkit.system.processes import anyone, largest, told_to_stop

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ON_SIGNAL = "saving after this step; once more stops at once, without saving"


class StopOnSignal(TrainerCallback):
    """Saves a checkpoint and stops after the step in which a signal came, or in the middle of its evaluation. A
    second signal stops at once.

    `stopped_by` is the signal that one of the processes got; None where the run was let to end. `evaluation_due` says
    that the evaluation of the step that is saved was not made, or not to its end: it comes first when the run goes on.
    """

    def __init__(self) -> None:
        self.stopped_by: signal.Signals | None = None
        self.evaluation_due = False
        self._received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = signal.Signals(number)
        told_to_stop.set()
        self._restore()
        if not reports_to_launcher():  # it has said so, and where another process failed it is not what happens
            say(f"{self._received.name}: {ON_SIGNAL}")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def stop(self, control: TrainerControl, *, evaluation_due: bool) -> None:
        """Stop here, on all processes; the caller has seen to it that all do. No signal: memory ran out."""
        number = largest(self._received or 0)
        self.stopped_by = signal.Signals(number) if number else None
        self.evaluation_due = evaluation_due
        control.should_save = control.should_training_stop = True
        control.should_evaluate = False

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Listen."""
        told_to_stop.clear()
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop, on all processes after the same step; after the last one there is nothing to stop but evaluating."""
        if anyone(told_to_stop.is_set()) and not control.should_training_stop:
            self.stop(control, evaluation_due=control.should_evaluate)

    def leave(self) -> None:
        """Leave signals to whom they were left before."""
        told_to_stop.clear()
        self._restore()
