"""A run that is killed and resumed is one run in each tracker, with the numbers of log.jsonl."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from support.runs import Material, run_command, tune
from support.trackers import READERS, Piece, configuration, final_scores, pieces

from llmkit.system.run_folder import RunDir
from llmkit.training.checkpoints import newest
from llmkit.training.trackers.tracker import flat

pytestmark = pytest.mark.slow

LIBRARIES = list(READERS)
for _library in LIBRARIES:
    pytest.importorskip(_library)
# What a step takes is measured anew when it is repeated, and MLflow takes nothing back.
MEASURED = ("seconds", "tokens_per_second", "peak_share", "eval_runtime")


@pytest.fixture(scope="module")
def killed(material: Material, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that reports to all, killed twice some steps after a checkpoint, and finished."""
    folder = tmp_path_factory.mktemp("trackers")
    (folder / "tokenizer").symlink_to(material.shards / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB", "MLFLOW", "TRACKIO", "TENSORBOARD"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        settings = [f"train.report_to=[{', '.join(LIBRARIES)}]", "train.max_steps=120"]
        settings += ["train.logging_steps=1", "train.eval_steps=15", "train.per_device_train_batch_size=4", "--resume"]
        command = tune(folder, *settings)
        run = RunDir(folder / "run")
        for steps in (20, 50):
            kill_after(command, run, steps)
        run_command(*command, cwd=folder)
    return run


def kill_after(command: list[str], run: RunDir, steps: int) -> None:
    process = psutil.Popen([sys.executable, "-m", "llmkit", *command], cwd=run.path.parent, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not (rows := run.log_rows()) or rows[-1]["step"] < steps:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    process.stderr.close()
    checkpoint = newest(run.checkpoints)
    assert checkpoint is not None
    assert int(checkpoint.name.rpartition("-")[2]) < run.log_rows()[-1]["step"], "it has steps to repeat"


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_holds_what_the_log_holds(library: str, killed: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(killed.path.parent)
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", killed.path.parent / "trackio")
    found, log = READERS[library](killed), pieces(killed)
    assert sorted(piece[:2] for piece in found) == sorted(piece[:2] for piece in log)
    if library == "mlflow":
        found, log = ([piece for piece in some if piece[1] not in MEASURED] for some in (found, log))
    exact = library != "tensorboard"  # whose files hold float32
    assert sorted(found) == sorted(log if exact else map(in_float32, log))
    metrics = yaml.safe_load((killed.path / "metrics.json").read_text())
    scores = final_scores(library, killed)
    assert scores["f1"] == pytest.approx(metrics["f1"])
    assert [scores["f1_interval_low"], scores["f1_interval_high"]] == pytest.approx(metrics["f1_interval"])
    shown = configuration(library, killed)
    for key, value in flat(killed.recipe()).items():
        assert str(shown[key]) == str(value)


def in_float32(piece: Piece) -> Piece:
    return (*piece[:2], float(np.float32(piece[2])))


def test_the_folder_is_a_run_as_ever(killed: RunDir) -> None:
    files = {path.name for path in killed.path.iterdir()}
    assert files >= {"recipe.yaml", "metrics.json", "model", "trackers"}
    assert {path.name for path in (killed.path / "trackers").iterdir()} == {
        *("tensorboard", "wandb"),
        *(f"{library}.json" for library in LIBRARIES),
    }


def test_each_run_of_a_series_has_a_name_of_its_own(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokenizer").symlink_to(material.shards / "tokenizer")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    command = tune(tmp_path, "--seeds", "2", "train.report_to=tensorboard", "train.max_steps=2")
    run_command(*command, cwd=tmp_path)
    found = sorted(
        path.parent.relative_to(tmp_path / "board").as_posix() for path in (tmp_path / "board").rglob("events*")
    )
    assert found == ["run/seed-42", "run/seed-43"]
