"""A tracker that fails, or a server that is down, ends no run, and leaves nothing open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from support.tracked_runs import arguments, session, step, tracked, tracked_run
from support.trackers import READERS, in_tensorboard, in_wandb, pieces

from llmkit.system.run_folder import RunDir
from llmkit.training.trackers.mirror import KINDS, Mirror
from llmkit.training.trackers.sent import Row
from llmkit.training.trackers.tensorboard import TensorBoard
from llmkit.training.trackers.tracker import Status, Tracker

pytest.importorskip("tensorboard")
__all__ = ["tracked_run"]  # the fixture `run`


def test_a_tracker_that_fails_is_given_up_and_said_once(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Tracker, row: Row) -> None:
        raise ConnectionError("the server is down\nat length")

    class Broken(TensorBoard):
        library = "broken"
        send = fail

    monkeypatch.setitem(KINDS, "broken", Broken)
    with Mirror(["broken", "tensorboard"], tracked(run)) as mirror:
        mirror.start(arguments(run))
        for row in (step(2), step(4)):
            run.log(row)
            mirror.follow()
    assert capsys.readouterr().err == "warning: broken fails, and the run goes on without it: the server is down\n"
    assert sorted(in_tensorboard(run)) == sorted(pieces(run)), "the others go on"


@pytest.mark.parametrize("library", list(READERS))
def test_a_tracker_that_fails_leaves_nothing_open(
    library: str, run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or the next run of a series would go on with it."""
    pytest.importorskip(library)
    kind, ended = KINDS[library], []

    class Broken(kind):  # type: ignore[misc, valid-type]
        def send(self, row: Row) -> None:
            raise ConnectionError("the server is down")

        def finish(self, status: Status, rows: Sequence[Row]) -> None:
            super().finish(status, rows)
            ended.append(status)

    with monkeypatch.context() as patch:
        patch.setitem(KINDS, library, Broken)
        session(run, library, step(2))
    assert ended == ["FAILED"]
    assert "cannot be closed" not in capsys.readouterr().err
    if library == "mlflow":
        import mlflow

        assert mlflow.active_run() is None
    if library == "wandb":
        import wandb

        assert wandb.run is None


def test_a_tracker_that_cannot_be_closed_either(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Tracker, *_: Any) -> None:
        raise ConnectionError("the server is down")

    monkeypatch.setattr(TensorBoard, "send", fail)
    monkeypatch.setattr(TensorBoard, "finish", fail)
    session(run, "tensorboard", step(2))
    assert capsys.readouterr().err.splitlines()[1:] == ["warning: tensorboard cannot be closed: the server is down"]


@pytest.mark.parametrize("library", list(READERS))
def test_what_has_not_begun_needs_no_end(library: str, run: RunDir) -> None:
    KINDS[library](tracked(run), arguments(run)).finish("FAILED", [])


def test_a_server_that_is_down_ends_nothing(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    session(run, "mlflow", step(2), step(4))
    assert capsys.readouterr().err.count("mlflow fails, and the run goes on without it") == 1


@pytest.mark.slow
def test_weights_and_biases_out_of_reach_is_kept_here(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb = pytest.importorskip("wandb")
    wandb.teardown()  # it has read the environment of earlier tests
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    session(run, "wandb", step(2), step(4))
    wandb.teardown()
    assert "the run is kept here, for `wandb sync`" in capsys.readouterr().err
    assert sorted(in_wandb(run)) == sorted(pieces(run))
