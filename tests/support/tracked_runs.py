"""Runs that report to trackers, without a training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
from transformers import BertConfig, BertModel, TrainingArguments

from llmkit.system.errors import Stopped
from llmkit.system.run_folder import RunDir
from llmkit.training.trackers.mirror import Mirror
from llmkit.training.trackers.tracker import Tracked

CONFIG = {"name": "base", "train.learning_rate": 1e-4, "data.train": ["a.jsonl", "b.jsonl"]}
METRICS = {"f1": 81.5, "f1_interval": [80.0, 83.0], "labels": {"joy": {"f1": 70.0}}, "signature": "x", "best": True}


def step(number: int, take: int = 1) -> dict[str, Any]:
    """A row of training. How long it took differs from one take to the next."""
    return {"step": number, "seconds": number + take / 8, "loss": 4 - number / 8, "tokens_per_second": 1000.0 * take}


def evaluation(number: int, take: int = 1) -> dict[str, Any]:
    return {"step": number, "seconds": number + take / 4, "eval_f1": 50.0 + number, "eval_runtime": take / 16}


@pytest.fixture(name="run")
def tracked_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run that has begun, in an environment that names no server."""
    for name in [name for name in os.environ if name.startswith(("WANDB", "MLFLOW", "TRACKIO", "TENSORBOARD"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    if find_spec("tensorboard"):  # files of one second are in the order of their numbers only up to 9
        from tensorboard.summary.writer import event_file_writer as module

        monkeypatch.setattr(module, "_global_uid", module.AtomicCounter(0))
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
