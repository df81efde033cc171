"""MLflow: where $MLFLOW_TRACKING_URI says, or in the store that `mlflow ui` shows in this folder."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from llmkit.training.trackers.sent import Row
from llmkit.training.trackers.tracker import PROJECT, Status, Tracker, with_environment, without_chatter

RETRIES = "3"  # where the run waits; in between a thread of the library tries again, as often as it does by itself


class MLflow(Tracker):
    """A run with the same id after a resume. MLflow deletes no value, so there is one for each name and step."""

    library = "mlflow"
    _id = ""

    def start(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See Tracker."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody asked for it
        import mlflow
        from transformers.integrations.integration_utils import MLflowCallback

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._mlflow: Any = mlflow
        known = self.known()
        if "uri" in known and "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(known["uri"])
        chosen = known.get("id") or (os.environ.get("MLFLOW_RUN_ID") if self.tracked.series is None else None)
        with _soon(), with_environment(MLFLOW_RUN_ID=None):
            self._open(chosen)
            here = mlflow.get_tracking_uri().startswith(("sqlite:", "file:", "/"))  # an address may hold a login
            self.keep(id=self._id, **({"uri": mlflow.get_tracking_uri()} if here else {}))
            self._has = self._values()
            self._report_recipe(MLflowCallback())
        return rows

    def _open(self, chosen: str | None) -> None:
        """Begin a run, or go on with a `chosen` one, within the caller's if there is one."""
        nested = self._mlflow.active_run() is not None
        if not nested:
            self._mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        tags = {"series": self.tracked.series} if self.tracked.series else None
        new: dict[str, Any] = {"run_name": self.tracked.name, "tags": tags}
        run = self._mlflow.start_run(nested=nested, **({"run_id": chosen} if chosen else new))
        self._id = str(run.info.run_id)

    def _report_recipe(self, callback: Any) -> None:
        """Report what is not there: MLflow refuses another value, as of a run that becomes longer."""
        there = self._mlflow.get_run(self._id).data.params
        config = {name: value for name, value in self.tracked.config.items() if name not in there}
        self.begin(callback, replace(self.tracked, config=config))

    def send(self, row: Row) -> None:
        """See Tracker."""
        new = {name: value for name, value in row.items() if name == "step" or not self._there(name, row["step"])}
        if len(new) > 1:
            super().send(new)

    def scores(self, scores: Mapping[str, float], step: int) -> None:
        """See Tracker."""
        self._mlflow.log_metrics(dict(scores), step=step)

    def finish(self, status: Status, rows: Sequence[Row]) -> None:
        """See Tracker. What the server has missed is sent again."""
        if not self._id:
            return
        with _soon():
            try:
                if rows:
                    self._send_missed(rows)
            finally:
                active = self._mlflow.active_run()
                if active is not None and active.info.run_id == self._id:  # not the caller's
                    self._mlflow.end_run(status)

    def _send_missed(self, rows: Sequence[Row]) -> None:
        self._mlflow.flush_async_logging()
        self._has = self._values()
        for row in rows:
            self.send(row)

    def _there(self, name: str, step: int) -> bool:
        """Whether a value is there from before, which is then used up: a row may follow with the name and step."""
        there = self._has[name, step] > 0
        self._has[name, step] -= there
        return there

    def _values(self) -> Counter[tuple[str, int]]:
        """How many values are there, by name and step."""
        client = self._mlflow.MlflowClient()
        names = client.get_run(self._id).data.metrics
        return Counter((name, found.step) for name in names for found in client.get_metric_history(self._id, name))


@contextmanager
def _soon() -> Iterator[None]:
    """Give up soon on a server that is down: the run waits. Tell nothing on stdout."""
    retries = os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    with without_chatter(), with_environment(MLFLOW_HTTP_REQUEST_MAX_RETRIES=retries):
        yield
