"""All trackers of a run, which follow its log.jsonl. One that fails is given up, and the run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from transformers import TrainingArguments

from llmkit.system.console import is_main, warn
from llmkit.system.errors import EndedEarly, Stopped, UserError
from llmkit.training.trackers.mlflow import MLflow
from llmkit.training.trackers.sent import Row
from llmkit.training.trackers.tensorboard import TensorBoard
from llmkit.training.trackers.tracker import Status, Tracked, Tracker
from llmkit.training.trackers.trackio import Trackio
from llmkit.training.trackers.wandb import Wandb

KINDS: dict[str, type[Tracker]] = {kind.library: kind for kind in (TensorBoard, Wandb, MLflow, Trackio)}


def check_installed(names: Sequence[str]) -> None:
    """Raises UserError if the library of a tracker is missing."""
    if missing := [name for name in names if find_spec(name) is None]:
        raise UserError(
            f"train.report_to: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            remedy=f"pip install {' '.join(missing)}",
        )


class Mirror:
    """Reports the rows of log.jsonl to trackers, on the main process. A context manager, which ends them."""

    def __init__(self, names: Sequence[str], tracked: Tracked) -> None:
        self._names, self._tracked = names, tracked
        self._trackers: list[Tracker] = []  # that have started and not failed
        self._rows: list[Row] = []
        self._read = 0  # bytes of the log

    def start(self, arguments: TrainingArguments) -> None:
        """Start the trackers, and send what they lack of the log."""
        self._trackers = [KINDS[name](self._tracked, arguments) for name in self._names] if is_main() else []
        rows = self._new_rows()

        self._tell_all(lambda tracker: _send(tracker, tracker.start(rows)))

    def follow(self) -> None:
        """Send what is new in the log."""
        rows = self._new_rows()
        self._tell_all(lambda tracker: _send(tracker, rows))

    def scores(self, metrics: Mapping[str, Any]) -> None:
        """Send the final scores: the numbers of metrics.json, with their intervals."""
        step = self._rows[-1]["step"] if self._rows else 0
        scores = {f"final/{name}": value for name, value in numbers_of(metrics).items()}
        self._tell_all(lambda tracker: tracker.scores(scores, step))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        status: Status = "FINISHED"
        if error is not None and not isinstance(error, EndedEarly):
            status = "KILLED" if isinstance(error, Stopped | KeyboardInterrupt) else "FAILED"
        self._tell_all(lambda tracker: tracker.finish(status, self._rows))

    def _tell_all(self, tell: Callable[[Tracker], None]) -> None:
        """Tell each tracker something. A server that is down must not end a training of days."""
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as error:  # hides nothing: it is said, once, and log.jsonl has what is not reported
                self._trackers.remove(tracker)
                warn(f"{tracker.library} fails, and the run goes on without it: {_first_line(error)}")
                _close(tracker)

    def _new_rows(self) -> list[Row]:
        """The rows of the log since the last ones."""
        log = self._tracked.run.path / "log.jsonl"
        if not (self._trackers and log.is_file()):
            return []
        with log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        self._read += len(text)
        rows = [json.loads(line) for line in text.splitlines()]
        self._rows += rows
        return rows


def _send(tracker: Tracker, rows: Sequence[Row]) -> None:
    try:
        for row in rows:
            tracker.send(row)
    finally:
        if rows:
            tracker.keep_sent()


def _close(tracker: Tracker) -> None:
    """End one that failed: its library would take the next run of the process for a part of it."""
    try:
        tracker.finish("FAILED", [])
    except Exception as error:  # hides nothing, as above
        warn(f"{tracker.library} cannot be closed: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def numbers_of(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of scores by name: those of a mapping after a slash, an interval as `_low` and `_high`."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= numbers_of(value, f"{prefix}{name}/")
        elif isinstance(value, list | tuple) and len(value) == 2 and name.endswith("_interval"):
            found |= {f"{prefix}{name}_low": float(value[0]), f"{prefix}{name}_high": float(value[1])}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = value
    return found
