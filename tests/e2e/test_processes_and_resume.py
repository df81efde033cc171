"""Killed and resumed, and spread over processes: the same run."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.runs import PRETRAIN, SHAPE, run_command, training_steps, weights, write_demo_questions, write_demo_text

from llmkit.system.advice import Advice
from llmkit.system.launch import relaunch
from llmkit.training.checkpoints import newest


def slow(*values: object) -> Any:
    """A case for `make test-all`: what it tests differs little from a case that is always run."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("material")
    text = write_demo_text(folder)
    run_command("tokenize", "-c", str(text), "-o", "shards", "tokenizer.vocab_size=400", cwd=folder)
    run_command("pretrain", *PRETRAIN, "corpus.path=shards", "-o", "base", "train.max_steps=4", cwd=folder)
    return {"folder": folder, "questions": write_demo_questions(folder)}


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 300
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_after_checkpoint(arguments: list[str], run: Path, cwd: Path) -> None:
    """Start a command and SIGKILL it some steps after its first checkpoint is whole."""
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *arguments], cwd=cwd, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    wait_for(run, "checkpoints/*/whole.json", process)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(("number", "processes"), [("SIGINT", 1), slow("SIGTERM", 1), slow("SIGTERM", 2)])
def test_a_signal_saves_and_stops(number: str, processes: int, base: dict[str, Any]) -> None:
    folder = base["folder"]
    arguments = [*PRETRAIN, "corpus.path=shards", "train.max_steps=60", "train.logging_steps=1", "-n", str(processes)]
    whole, stopped = folder / f"never-stopped-{processes}", folder / f"{number}-{processes}"
    if not whole.is_dir():
        run_command("pretrain", *arguments, "-o", str(whole), cwd=folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", "pretrain", *arguments, "-o", str(stopped)],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(stopped, "log.jsonl", process)
    process.send_signal(signal.Signals[number])
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.Signals[number], err
    assert f"{number}: saving after this step" in err
    assert "which is saved" in err
    assert f"--resume -o {stopped}" in err
    assert "Traceback" not in err
    resumed = run_command("pretrain", *arguments, "-o", str(stopped), "--resume", cwd=folder)
    assert "resuming from" in resumed.stderr
    assert weights(stopped) == weights(whole)


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint(base: dict[str, Any]) -> None:
    folder = base["folder"]
    arguments = [*PRETRAIN, "corpus.path=shards", "train.max_steps=60", "train.eval_steps=20"]
    whole, full = folder / "never-full", folder / "full"
    run_command("pretrain", *arguments, "-o", str(whole), cwd=folder)
    kill_after_checkpoint(["pretrain", *arguments, "-o", str(full)], full, folder)
    first = newest(full / "checkpoints")
    # A limit on the size of files is a full disk to those who write: weights fit in, moments do not.
    size = (whole / "model" / "model.safetensors").stat().st_size
    limited = subprocess.run(
        [sys.executable, "-m", "llmkit", "pretrain", *arguments, "-o", str(full), "--resume"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, size + 4096)),
    )
    assert limited.returncode == 1, limited.stderr
    assert "cannot be written" in limited.stderr
    assert "Traceback" not in limited.stderr
    assert newest(full / "checkpoints") == first
    run_command("pretrain", *arguments, "-o", str(full), "--resume", cwd=folder)
    assert weights(full) == weights(whole)


@pytest.mark.parametrize("command", [slow("pretrain"), "finetune"])
def test_a_killed_run_ends_with_the_same_weights(command: str, base: dict[str, Any]) -> None:
    # Several epochs, accumulation and dropout: everything that a resume could get wrong.
    shared = ["train.max_steps=60", "train.eval_steps=7", "train.gradient_accumulation_steps=2"]
    if command == "pretrain":
        arguments = [*PRETRAIN, "corpus.path=shards", "train.per_device_train_batch_size=64", *shared]
    else:
        arguments = ["-r", "tiny/squad", "model.pretrained=base", *base["questions"], *shared]
    folder = base["folder"]
    whole, killed = folder / f"{command}-whole", folder / f"{command}-killed"
    run_command(command, *arguments, "-o", str(whole), cwd=folder)
    kill_after_checkpoint([command, *arguments, "-o", str(killed)], killed, folder)
    assert not (killed / "metrics.json").exists()
    resumed = run_command(command, *arguments, "-o", str(killed), "--resume", cwd=folder)
    assert "resuming from" in resumed.stderr
    assert weights(killed) == weights(whole)
    assert json.loads((killed / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())


def test_two_processes_train_the_global_batch_that_the_recipe_says(base: dict[str, Any]) -> None:
    folder = base["folder"]
    shape = f"model.config={SHAPE[:-1]}, hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}}"
    shared = [*PRETRAIN, shape, "corpus.path=shards", "train.max_steps=4", "train.logging_steps=1"]
    shapes = {
        "whole": ["train.per_device_train_batch_size=32"],
        "accumulated": ["train.per_device_train_batch_size=8", "train.gradient_accumulation_steps=4"],
    }
    for name, steps in shapes.items():
        run_command("pretrain", *shared, *steps, "-o", name, cwd=folder)
    steps = ["train.per_device_train_batch_size=8", "train.gradient_accumulation_steps=2"]
    two = run_command("pretrain", *shared, *steps, "-o", "two", "-n", "2", cwd=folder)
    # The same 32 blocks a step, whoever computes which of them, and the same gradient of them.
    whole, *others = (training_steps(folder / name) for name in ("whole", "accumulated", "two"))
    assert len(whole) == 4
    for other in others:
        for mine, its in zip(whole, other, strict=True):
            assert its["loss"] == pytest.approx(mine["loss"], rel=1e-5)
            assert its["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-5)
    assert "4 steps of 32 examples (8 × 2 accumulated × 2 processes)" in two.stderr
    assert two.stderr.count("model: ") == 1, "only one process speaks"
    assert json.loads((folder / "two" / "env.json").read_text())["processes"] == 2
    assert json.loads((folder / "two" / "metrics.json").read_text())["steps"] == 4


@pytest.mark.parametrize("launcher", ["-n", slow("torchrun")])
def test_two_processes_give_the_same_scores(launcher: str, base: dict[str, Any]) -> None:
    folder = base["folder"]
    run = folder / f"scored-{launcher}"
    arguments = ["-r", "tiny/squad", "model.pretrained=base", *base["questions"], "train.max_steps=2"]
    run_command("finetune", *arguments, "-o", str(run), cwd=folder)
    alone = json.loads((run / "metrics.json").read_text())
    if launcher == "-n":
        done = run_command("eval", str(run), "--json", "-n", "2", cwd=folder)
    else:
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
        done = run_command("eval", str(run), "--json", cwd=folder, launcher=torchrun)
    together = json.loads(done.stdout)
    for name in ("exact_match", "f1"):
        assert together[name] == pytest.approx(alone[name], abs=1e-6)


def test_a_launcher_that_starts_one_process_for_two_is_refused(base: dict[str, Any]) -> None:
    environment = {**os.environ, "ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500", "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, "-m", "llmkit", "eval", "base", "--task", "squad", "--data", "demo"]
    done = subprocess.run(command, cwd=base["folder"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "started only this one" in done.stderr or "no question-answering head" in done.stderr


def test_an_error_in_the_processes_is_an_error_of_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert relaunch(2, ["recipes", "show", "no-such-recipe"], Advice()) != 0


def test_resuming_on_other_data_is_refused(base: dict[str, Any], tmp_path: Path) -> None:
    folder = base["folder"]
    run = folder / "moved"
    data = ["data.train=moved.jsonl", base["questions"][1]]
    first, second = write_demo_questions(tmp_path)[0].partition("=")[2], folder / "moved.jsonl"
    second.write_text(Path(first).read_text())
    arguments = ["-r", "tiny/squad", "model.pretrained=base", *data, "train.max_steps=200", "train.eval_steps=3"]
    kill_after_checkpoint(["finetune", *arguments, "-o", str(run)], run, folder)
    second.write_text("".join(line + "\n" for line in Path(first).read_text().splitlines()[1:]))
    command = [sys.executable, "-m", "llmkit", "finetune", *arguments, "-o", str(run), "--resume"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "other data" in done.stderr
