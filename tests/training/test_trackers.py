"""What trackers hold is what log.jsonl holds: the same numbers at the same steps, also after a run went back."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Command
from support.tracked_runs import METRICS, evaluation, session, step, tracked_run
from support.trackers import (
    READERS,
    Piece,
    configuration,
    final_scores,
    in_trackio,
    in_wandb_file,
    kept,
    pieces,
    wandb_file,
    wandb_files,
)

from llmkit.system.run_folder import RunDir
from llmkit.training.trackers import mirror as module
from llmkit.training.trackers.mirror import numbers_of
from llmkit.training.trackers.wandb import Wandb

pytest.importorskip("tensorboard")
__all__ = ["tracked_run"]  # the fixture `run`


@pytest.mark.parametrize("library", list(READERS))
def test_a_run_that_went_back_has_each_step_once(library: str, run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(library)
    session(run, library, step(2), step(4), evaluation(4), step(6), step(8), ends=False)
    run.trim_log(4)
    session(run, library, step(6, 2), step(8, 2), evaluation(8, 2), step(10, 2))
    found = READERS[library](run)
    log = pieces(run)
    assert sorted(piece[:2] for piece in found) == sorted(piece[:2] for piece in log)
    if library == "mlflow":  # takes nothing back: how long the repeated steps took is that of the first time
        again = {(6, "seconds"), (6, "tokens_per_second"), (8, "tokens_per_second"), (8, "seconds")}
        log = [piece for piece in log if piece[:2] not in again]
        found = [piece for piece in found if piece[:2] not in again]
    assert sorted(found) == sorted(log)
    captured = capsys.readouterr()
    assert captured.out == "", "stdout is for results"
    assert "fails" not in captured.err
    assert final_scores(library, run) == pytest.approx(
        {"f1": 81.5, "f1_interval_low": 80.0, "f1_interval_high": 83.0, "labels/joy/f1": 70.0}
    )
    shown = configuration(library, run)
    assert float(shown["train.learning_rate"]) == 1e-4
    assert int(shown["hidden_size"]) == 8


@pytest.mark.parametrize("library", list(READERS))
def test_a_tracker_that_is_named_later_gets_what_was_before(library: str, run: RunDir) -> None:
    pytest.importorskip(library)
    run.log(step(2))
    run.log(step(4))
    session(run, library, step(6))
    assert sorted(READERS[library](run)) == sorted(pieces(run))


def test_another_run_of_the_same_name_has_its_own(run: RunDir) -> None:
    """trackio finds a run by its name, so two folders must not share one."""
    pytest.importorskip("trackio")
    other = RunDir(run.path.with_name("other"))
    other.path.mkdir()
    for each in (run, other):
        session(each, "trackio", step(2))
    assert [kept(each, "trackio")["name"] for each in (run, other)] == ["base", "base-2"]
    assert in_trackio(run) == in_trackio(other)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files here that stand for what the servers of W&B and trackio get: nothing is taken back from them."""
    init = Wandb._init
    monkeypatch.setattr(Wandb, "_logged_in", lambda self: True)
    monkeypatch.setattr(Wandb, "_init", lambda self, mode: init(self, "offline"))
    monkeypatch.setattr("llmkit.training.trackers.trackio.REMOTE", ("TRACKIO_SERVER_OF_TESTS",))
    monkeypatch.setenv("TRACKIO_SERVER_OF_TESTS", "http://server")


def on_server(library: str, run: RunDir) -> list[Piece]:
    if library == "wandb":
        assert len({file.name for file in wandb_files(run)}) == 1, "one id"
        return [piece for file in wandb_files(run) for piece in in_wandb_file(file)]
    return READERS[library](run)


def exact(found: list[Piece]) -> list[Piece]:
    """What is the same each time that a step is taken, in order."""
    return sorted(piece for piece in found if piece[1] in ("loss", "eval_f1", "processes"))


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("library", ["wandb", "trackio"])
def test_a_server_gets_repeated_steps_once(library: str, run: RunDir) -> None:
    pytest.importorskip(library)
    session(run, library, step(2), step(4), evaluation(4), step(6), step(8), ends=False)
    run.trim_log(4)
    session(run, library, step(6, 2), step(8, 2), evaluation(8, 2), step(10, 2))
    found = on_server(library, run)
    assert sorted(piece[:2] for piece in found) == sorted(piece[:2] for piece in pieces(run))
    assert exact(found) == exact(pieces(run))


def left_out_and_named_again(run: RunDir, library: str) -> None:
    """A run that goes on without its tracker for a while, each time with other processes."""
    session(run, library, {"step": 0, "processes": 1}, step(2), step(4), evaluation(4), step(6), ends=False)
    run.trim_log(4)
    for row in ({"step": 4, "processes": 2}, step(6, 2), step(8, 2), evaluation(8, 2), step(10, 2)):
        run.log(row)
    run.trim_log(8)
    for _ in range(2):
        run.log({"step": 8, "processes": 1})
        session(run, library, ends=False)  # stopped before its first step
    session(run, library, step(10, 3))


@pytest.mark.parametrize("library", ["tensorboard", "trackio"])
def test_a_tracker_gets_what_it_missed(library: str, run: RunDir) -> None:
    pytest.importorskip(library)
    left_out_and_named_again(run, library)
    found = READERS[library](run)
    assert sorted(piece[:2] for piece in found) == sorted(piece[:2] for piece in pieces(run))
    assert exact(found) == exact(pieces(run))


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("library", ["wandb", "trackio"])
def test_a_server_gets_what_it_missed(library: str, run: RunDir) -> None:
    pytest.importorskip(library)
    left_out_and_named_again(run, library)
    found = on_server(library, run)
    assert sorted(piece[:2] for piece in found) == sorted(piece[:2] for piece in pieces(run))
    assert exact(found) == exact(pieces(run))


def test_the_command_line_is_kept_without_its_secrets(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setattr("sys.argv", ["llmkit", "finetune", "data.train=https://jane:s3cret@host/train.jsonl"])
    session(run, "wandb", step(2))
    kept_there = wandb_file(run).read_bytes()
    assert b"data.train=https://host/train.jsonl" in kept_there
    assert b"s3cret" not in kept_there


def test_only_the_first_process_reports(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    session(run, "tensorboard", step(2))
    assert not (run.path / "trackers").exists()


def test_the_environment_says_where(run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    session(run, "tensorboard", step(2))
    assert list((tmp_path / "board" / "base").glob("events.*"))
    assert [path.name for path in (run.path / "trackers").iterdir()] == ["tensorboard.json"]


def test_runs_of_one_name_share_no_folder(run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    other = RunDir(run.path.with_name("other"))
    other.path.mkdir()
    for each in (run, other, other):  # the last time it is resumed
        session(each, "tensorboard", step(2), ends=False)
    found = [Path(kept(each, "tensorboard")["folder"]) for each in (run, other)]
    assert found == [tmp_path / "board" / "base", tmp_path / "board" / "base-2"]
    assert [len(list(folder.glob("events.*"))) for folder in found] == [1, 2]


def test_what_is_missing_is_said_before_anything_is_read(llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    code, out, err = llmkit("finetune", "--task", "squad", "train.report_to=[wandb, trackio]")
    assert (code, out) == (1, "")
    assert err == "error: train.report_to: wandb and trackio are not installed\nPip install wandb trackio.\n"


def test_a_name_that_no_tracker_has(llmkit: Command) -> None:
    code, _, err = llmkit("finetune", "--task", "squad", "train.report_to=[tensorbord]")
    assert code == 1
    assert "unknown tracker 'tensorbord' (did you mean tensorboard?); trackers are tensorboard, wandb" in err


def test_numbers_of_scores() -> None:
    assert numbers_of(METRICS) == {"f1": 81.5, "f1_interval_low": 80.0, "f1_interval_high": 83.0, "labels/joy/f1": 70.0}
