"""On Ctrl-C or a job manager's signal: finish the step or abandon the evaluation, save a checkpoint, and stop."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.system.console import say
from llmkit.system.errors import Stopped
from llmkit.system.exits import reports_to_launcher
from llmkit.system.processes import LastMaximum, max_over_processes, stop_requested
from llmkit.system.stop_signals import ON_SIGNAL, STOP_SIGNALS, insists, received, repeats


class StopOnSignal(TrainerCallback):
    """On a signal, saves a checkpoint and stops after a step, or during its evaluation. A later Ctrl-C stops at once.

    `stopped_by` is the signal that a process received; None if the run was not stopped. `evaluation_due` says that the
    evaluation of the saved step did not finish: a resumed run starts with it.
    """

    def __init__(self) -> None:
        self.stopped_by: signal.Signals | None = None
        self.evaluation_due = False
        self._received: signal.Signals | None = None
        self._since, self._over = 0.0, False
        self._previous: dict[signal.Signals, Any] = {}
        self._asked = LastMaximum()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received, self._since = signal.Signals(number), time.monotonic()
            received.append(self._received)
            stop_requested.set()
            if not reports_to_launcher():  # the launcher prints this, unless it stops us because a process failed
                say(f"{self._received.name}: {ON_SIGNAL}")
        elif insists(number, self._since) or (self._over and not repeats(self._since)):
            self._restore_handlers()
            signal.raise_signal(number)

    def _restore_handlers(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def stop(self, control: TrainerControl, *, evaluation_due: bool) -> None:
        """Save and stop. Must be called on all processes. Without a signal, memory ran out."""
        number = int(max_over_processes(self._received or 0))
        self.stopped_by = signal.Signals(number) if number else None
        self.evaluation_due = evaluation_due
        control.should_save = control.should_training_stop = True
        control.should_evaluate = False

    def raise_if_stopped(self, step: int, run: Path) -> None:
        """Raises Stopped if a signal stopped the run after a step."""
        if self.stopped_by is not None:
            later = "; a resumed run starts with its evaluation" if self.evaluation_due else ""
            message = f"stopped after step {step:,}, which is saved{later}" if step else "stopped before the first step"
            raise Stopped(self.stopped_by, message, run)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Install the signal handlers."""
        stop_requested.clear()
        self._previous = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop all processes after the same step. After the last step, only its evaluation can be stopped.

        Several processes stop a step after the signal, or in this step's evaluation: none waits for the others' answer.
        """
        if self._asked(stop_requested.is_set()) and not control.should_training_stop:
            self.stop(control, evaluation_due=control.should_evaluate)

    def restore(self) -> None:
        """Restore the handlers of before. After a signal ours stay: it may be repeated while the program exits."""
        stop_requested.clear()
        self._over = True
        if self._received is None:
            self._restore_handlers()
