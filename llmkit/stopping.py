"""Ctrl-C and SIGTERM: finish the step, save, stop, and say how to go on."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.console import say
from llmkit.processes import anyone

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(TrainerCallback):
    """Saves a checkpoint and stops after the step in which a signal came. A second one stops at once.

    `stopped_by` is the signal; None where the run was let to end.
    """

    def __init__(self) -> None:
        self.stopped_by: signal.Signals | None = None
        self._received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = signal.Signals(number)
        self._restore()
        say(f"{self._received.name}: saving after this step; once more stops at once, without saving")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Listen."""
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop, on all processes after the same step; after the last one there is nothing to stop."""
        if anyone(self._received is not None) and not control.should_training_stop:
            self.stopped_by = self._received or signal.SIGTERM
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Leave signals to whom they were left before."""
        self._restore()
