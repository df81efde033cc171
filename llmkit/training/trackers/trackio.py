"""trackio: the database on this machine that `trackio show` shows, or a Space or server that the environment names."""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from secrets import token_hex
from typing import Any

from llmkit.training.trackers.sent import Row, Sent
from llmkit.training.trackers.tracker import Status, Tracker, without_chatter

REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class Trackio(Tracker):
    """A run with a name of its own, since trackio goes on with a run by its name.

    In the database on this machine a resumed run is written anew, since each row has the number that it has in the log.
    A server gets each row once.
    """

    library = "trackio"

    def start(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See Tracker."""
        import trackio
        from transformers.integrations.integration_utils import TrackioCallback

        self._trackio: Any = trackio
        self._remote = self._arguments.trackio_space_id or next(filter(None, map(os.environ.get, REMOTE)), None)
        known = self.known()
        again = "name" in known and known.get("remote") == self._remote
        with without_chatter(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about projects that do not exist yet
            self._name = self._arguments.run_name = known["name"] if again else self._free_name()
            if self._remote:
                self._sent = Sent(known if again else {})
            self.keep(name=self._name, remote=self._remote, **(self._sent.kept() if self._sent else {}))
            if again and not self._remote:
                self._take_back()
            self.begin(TrackioCallback())
        return rows

    def _free_name(self) -> str:
        """A name that no run of the project has."""
        name = self.tracked.name
        if self._remote:
            return f"{name}-{token_hex(3)}"
        taken, number = set(self._storage().get_runs(self._arguments.project)), 1
        while name in taken:
            number += 1
            name = f"{self.tracked.name}-{number}"
        return name

    def _take_back(self) -> None:
        """Delete the run's rows from the database."""
        path = self._storage().get_project_db_path(self._arguments.project)
        if path.exists():
            with closing(sqlite3.connect(path, timeout=30)) as database, database:
                database.execute("DELETE FROM metrics WHERE run_name = ?", (self._name,))

    @staticmethod
    def _storage() -> Any:
        from trackio.sqlite_storage import SQLiteStorage

        return SQLiteStorage

    def scores(self, scores: Mapping[str, float], step: int) -> None:
        """See Tracker."""
        self._trackio.log(dict(scores))

    def finish(self, status: Status, rows: Sequence[Row]) -> None:
        """See Tracker."""
        if self._callback is not None:
            with without_chatter():
                self.end()
