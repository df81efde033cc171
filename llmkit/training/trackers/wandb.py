"""Weights & Biases: uploaded for those who are logged in, or kept in the run's folder until `wandb sync`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from secrets import token_hex
from typing import Any

from llmkit.system.console import say, warn
from llmkit.system.secrets import without_secrets
from llmkit.training.trackers.tracker import PROJECT, Row, Status, Tracker, place, without_chatter

PATIENCE = 300.0  # seconds to wait at the end for a server that takes no data; they stay in the folder


class Wandb(Tracker):
    """A run with the same id after a resume.

    The server takes nothing back, so it gets the steps that a resumed run repeats once. Offline there is one file for
    each time that the run is started; the latest has all of the log, and those before it are removed.
    """

    library = "wandb"

    def start(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See Tracker."""
        import wandb
        from transformers.integrations import WandbCallback

        self._wandb: Any = wandb
        self._own = wandb.run is None  # or the caller's, who ends it
        known = self.known()
        self._id = known.get("id") or os.environ.get("WANDB_RUN_ID") or token_hex(4)
        self._online, self._sent = False, [-1, 0]
        if self._own:
            self._open()
        else:
            self._online, self._id = True, wandb.run.id  # type: ignore[union-attr]
        again = self._online and bool(known.get("online"))
        if again:
            self._sent = known["sent"]
        self._keep()
        if self._log_model():
            warn("WANDB_LOG_MODEL has no effect: push the model with llmkit push")
        callback = WandbCallback()  # type: ignore[no-untyped-call]
        self.begin(callback)
        return () if again else rows

    def _open(self) -> None:
        mode = os.environ.get("WANDB_MODE")
        if mode in (None, "online", "shared"):
            try:
                mode = mode or ("online" if self._logged_in() else "offline")
                if mode != "offline":
                    self._init(mode)
            except (self._wandb.Error, OSError) as error:  # no network, or a key that is refused
                warn(f"wandb: {_first_line(error)}; the run is kept here, for `wandb sync`")
                mode = "offline"
        self._online = mode in ("online", "shared")
        if self._online:
            return say(f"wandb: {self._wandb.run.url}")
        if "WANDB_DIR" not in os.environ:
            for earlier in (self._folder() / "wandb").glob(f"offline-run-*-{self._id}"):
                shutil.rmtree(earlier)
        self._init(str(mode))
        if mode == "offline":
            say(f"wandb: offline; upload it with `wandb sync {Path(self._wandb.run.dir).parent}`")

    def _init(self, mode: str) -> None:
        folder, environment = self._folder(), os.environ
        folder.mkdir(parents=True, exist_ok=True)
        # What is printed is the progress, and addresses; none of it belongs on a server.
        settings: dict[str, Any] = {"silent": True, "console": environment.get("WANDB_CONSOLE", "off")}
        if "finish_timeout" in self._wandb.Settings.model_fields and "WANDB_FINISH_TIMEOUT" not in environment:
            settings["finish_timeout"] = PATIENCE
        with _shown_arguments(), without_chatter():
            self._wandb.init(
                project=environment.get("WANDB_PROJECT", PROJECT),
                name=environment.get("WANDB_NAME", self.tracked.name),
                group=environment.get("WANDB_RUN_GROUP", self.tracked.series),
                id=self._id,
                resume="allow" if mode != "offline" else None,
                mode=mode,
                dir=str(folder),
                settings=self._wandb.Settings(**settings),
            )

    def _folder(self) -> Path:
        return Path(os.environ.get("WANDB_DIR") or self.tracked.folder)

    def _logged_in(self) -> bool:
        if "prompt" in signature(self._wandb.login).parameters:
            with without_chatter():
                return bool(self._wandb.login(prompt=False))
        return bool(self._wandb.api.api_key)

    @staticmethod
    def _log_model() -> bool:
        return os.environ.pop("WANDB_LOG_MODEL", "false").lower() not in ("false", "0", "")

    def send(self, row: Row) -> None:
        """See Tracker."""
        at = place(row)
        if self._online and at is not None and at <= self._sent:
            return
        super().send(row)
        if self._online and at is not None:
            self._sent = at
            self._keep()

    def _keep(self) -> None:
        self.keep(id=self._id, online=self._online, sent=self._sent)

    def scores(self, scores: Mapping[str, float], step: int) -> None:
        """See Tracker."""
        self._wandb.run.summary.update(dict(scores))

    def finish(self, status: Status, rows: Sequence[Row]) -> None:
        """See Tracker."""
        if self._own:
            with without_chatter():
                self._wandb.finish(exit_code=0 if status == "FINISHED" else 1)


@contextmanager
def _shown_arguments() -> Iterator[None]:
    """The command line without secrets, which wandb keeps with a run."""
    given, sys.argv = sys.argv, [without_secrets(argument) for argument in sys.argv]
    try:
        yield
    finally:
        sys.argv = given


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
