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
from llmkit.training.trackers.sent import Row, Sent
from llmkit.training.trackers.tracker import PROJECT, Status, Tracker, without_chatter

PATIENCE = 300.0  # seconds to wait at the end for a server that takes no data; they stay in the folder


class Wandb(Tracker):
    """A run with the same id after a resume.

    The server takes nothing back, so it gets the steps that a resumed run repeats once. Offline there is one file for
    each time that the run is started; the latest has all of the log, and those before it are removed.
    """

    library = "wandb"
    _own = False  # or the caller's, who ends it

    def start(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See Tracker."""
        import wandb
        from transformers.integrations.integration_utils import WandbCallback

        self._wandb: Any = wandb
        self._own = wandb.run is None
        known = self.known()
        chosen = os.environ.get("WANDB_RUN_ID") if self.tracked.series is None else None
        self._id = known.get("id") or chosen or token_hex(4)
        online = True
        if self._own:
            online = self._open()
        else:
            self._id = self._wandb.run.id
        again = online and known.get("id") == self._id and "sent" in known
        if online:
            self._sent = Sent(known if again else {})
        self.keep(id=self._id, **(self._sent.kept() if self._sent else {}))
        if self._log_model():
            warn("WANDB_LOG_MODEL has no effect: push the model with llmkit push")
        self.begin(WandbCallback())
        return rows

    def _open(self) -> bool:
        """Begin or go on with a run. Returns whether it is on a server."""
        mode = os.environ.get("WANDB_MODE")
        if mode in (None, "online", "shared"):
            try:
                mode = mode or ("online" if self._logged_in() else "offline")
                if mode != "offline":
                    self._init(mode)
            except (self._wandb.Error, OSError) as error:  # no network, or a key that is refused
                warn(f"wandb: {_first_line(error)}; the run is kept here, for `wandb sync`")
                mode = "offline"
        if mode in ("online", "shared"):
            say(f"wandb: {self._wandb.run.url}")
            return True
        if "WANDB_DIR" not in os.environ:
            for earlier in (self._folder() / "wandb").glob(f"offline-run-*-{self._id}"):
                shutil.rmtree(earlier)
        self._init(str(mode))
        if mode == "offline":
            say(f"wandb: offline; upload it with `wandb sync {Path(self._wandb.run.dir).parent}`")
        return False

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
