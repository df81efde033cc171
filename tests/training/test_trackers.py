"""What trackers hold is what log.jsonl holds: the same numbers at the same steps, also after a run went back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
from support import Command
from support.trackers import (
    READERS,
    Piece,
    configuration,
    final_scores,
    in_tensorboard,
    in_trackio,
    in_wandb,
    in_wandb_file,
    kept,
    pieces,
    wandb_file,
    wandb_files,
)
from transformers import BertConfig, BertModel, TrainingArguments

from llmkit.system.errors import Stopped
from llmkit.system.run_folder import RunDir
from llmkit.training.trackers import mirror as module
from llmkit.training.trackers.mirror import KINDS, Mirror, numbers_of
from llmkit.training.trackers.tensorboard import TensorBoard
from llmkit.training.trackers.tracker import Row, Tracked, Tracker
from llmkit.training.trackers.wandb import Wandb

pytest.importorskip("tensorboard")
CONFIG = {"name": "base", "train.learning_rate": 1e-4, "data.train": ["a.jsonl", "b.jsonl"]}
METRICS = {"f1": 81.5, "f1_interval": [80.0, 83.0], "labels": {"joy": {"f1": 70.0}}, "signature": "x", "best": True}


def step(number: int, take: int = 1) -> dict[str, Any]:
    """A row of training. How long it took differs from one take to the next."""
    return {"step": number, "seconds": number + take / 8, "loss": 4 - number / 8, "tokens_per_second": 1000.0 * take}


def evaluation(number: int, take: int = 1) -> dict[str, Any]:
    return {"step": number, "seconds": number + take / 4, "eval_f1": 50.0 + number, "eval_runtime": take / 16}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run that has begun, in an environment that names no server."""
    for name in [name for name in os.environ if name.startswith(("WANDB", "MLFLOW", "TRACKIO", "TENSORBOARD"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    if find_spec("trackio"):  # which reads the environment once
        monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    run = RunDir(tmp_path / "runs" / "base")
    run.path.mkdir(parents=True)
    return run


def tracked(run: RunDir) -> Tracked:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    return Tracked(run, "base", None, CONFIG, BertModel(BertConfig(vocab_size=8, **shape)))


def arguments(run: RunDir) -> TrainingArguments:
    return TrainingArguments(output_dir=str(run.checkpoints), report_to="none", use_cpu=True)


def session(run: RunDir, library: str, *rows: Mapping[str, Any], ends: bool = True) -> None:
    """Report rows, as a training does: to its end, or until a signal stops it."""
    with suppress(Stopped), Mirror([library], tracked(run)) as mirror:
        mirror.start(arguments(run))
        for row in rows:
            run.log(row)
            mirror.follow()
        if not ends:
            raise Stopped(SIGTERM, "stopped", run.path)
        mirror.scores(METRICS)


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
