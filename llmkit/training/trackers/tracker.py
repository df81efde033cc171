"""What all trackers have in common."""

from __future__ import annotations

import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.system.files import parse_json, read_text, write_whole
from llmkit.system.run_folder import RunDir
from llmkit.training.trackers.sent import Row, Sent

Status = Literal["FINISHED", "KILLED", "FAILED"]
PROJECT = "llmkit"  # what holds the runs, if the environment names nothing else


@dataclass(frozen=True)
class Tracked:
    """A run as trackers see it: its folder, its name, the series of runs that it is one of, and its recipe.

    `config` is the recipe without secrets; keys of sections are dotted.
    """

    run: RunDir
    name: str
    series: str | None
    config: Mapping[str, Any]
    model: PreTrainedModel

    @property
    def folder(self) -> Path:
        """Where trackers keep what belongs to this run."""
        return self.run.path / "trackers"


class Tracker(ABC):
    """A run in a tracker. A subclass starts and ends it; rows go through transformers' callback."""

    library: ClassVar[str]

    def __init__(self, tracked: Tracked, arguments: TrainingArguments) -> None:
        self.tracked, self._given = tracked, arguments
        self._callback: TrainerCallback | None = None
        self._arguments: Any = _Arguments(tracked, arguments)
        self._sent: Sent | None = None  # which rows are there for good, if the tracker itself is not asked

    @abstractmethod
    def start(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Begin, or go on with the tracker's own run of before. Returns those of the log's rows that are to be sent."""

    def send(self, row: Row) -> None:
        """Report a row of the log, unless it is there from before and stays."""
        assert self._callback is not None
        if self._sent is not None and self._sent.has(row):
            return
        logs = {name: value for name, value in row.items() if name != "step"}
        self._callback.on_log(
            self._arguments, _state(row["step"]), TrainerControl(), logs=logs, model=self.tracked.model
        )
        if self._sent is not None:
            self._sent.add(row)

    def keep_sent(self) -> None:
        """Keep which rows have been sent. Not after each: a safe write takes milliseconds, and a log has thousands."""
        if self._sent is not None:
            self.keep(**{**self.known(), **self._sent.kept()})

    @abstractmethod
    def scores(self, scores: Mapping[str, float], step: int) -> None:
        """Report the final scores."""

    @abstractmethod
    def finish(self, status: Status, rows: Sequence[Row]) -> None:
        """End what has begun, if anything has. `rows` are all of the log; none if the tracker failed."""

    def begin(self, callback: TrainerCallback, about: Tracked | None = None) -> None:
        """Let a callback report the recipe and the model's configuration. Rows go through it from now on."""
        self._callback = callback
        arguments: Any = _Arguments(about, self._given) if about else self._arguments
        callback.on_train_begin(arguments, _state(0), TrainerControl(), model=self.tracked.model)

    def end(self) -> None:
        """Let the callback end what it began."""
        assert self._callback is not None
        self._callback.on_train_end(self._arguments, _state(0), TrainerControl(), model=self.tracked.model)

    def known(self) -> dict[str, Any]:
        """What was kept about this run's counterpart in the tracker; nothing if there is none yet."""
        path = self.tracked.folder / f"{self.library}.json"
        return dict(parse_json(read_text(path), path)) if path.is_file() else {}

    def keep(self, **values: Any) -> None:
        """Keep what finds the counterpart again after a kill."""
        self.tracked.folder.mkdir(exist_ok=True)
        write_whole(self.tracked.folder / f"{self.library}.json", json.dumps(values))


class _Arguments:
    """The Trainer's arguments, but the recipe is what callbacks take for their content."""

    def __init__(self, tracked: Tracked, given: TrainingArguments) -> None:
        self._tracked, self._given = tracked, given
        self.run_name, self.project = tracked.name, os.environ.get("TRACKIO_PROJECT", PROJECT)

    def to_dict(self) -> dict[str, Any]:
        return dict(self._tracked.config)

    def to_json_string(self) -> str:
        return json.dumps(self._tracked.config, indent=2, ensure_ascii=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings in one level, with dotted keys."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _state(step: int) -> Any:
    return TrainerState(global_step=step, is_world_process_zero=True, is_local_process_zero=True)


@contextmanager
def without_chatter() -> Iterator[None]:
    """Print nothing on stdout, where libraries tell where their runs are: it is for results."""
    with redirect_stdout(io.StringIO()):
        yield


@contextmanager
def with_environment(**values: str | None) -> Iterator[None]:
    """Set variables of the environment, or with None remove them, for a while."""
    before = {name: os.environ.get(name) for name in values}

    def put(wanted: Mapping[str, str | None]) -> None:
        for name, value in wanted.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    put(values)
    try:
        yield
    finally:
        put(before)
