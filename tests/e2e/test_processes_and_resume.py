"""Killed and resumed, and spread over processes: the same run.

A run in a process of its own, or in several, is compared with one in this process.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.runs import PRETRAIN, SHAPE, Material, command, run_command, training_steps, weights

from llmkit.system.advice import Advice
from llmkit.system.launch import relaunch
from llmkit.training.checkpoints import newest
from llmkit.training.trainer import Trainer


def slow(*values: object) -> Any:
    """A case for `make test-all`: what it tests differs little from a case that is always run."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def pretrain(material: Material) -> list[str]:
    return ["pretrain", *PRETRAIN, f"corpus.path={material.shards}"]


@pytest.fixture
def finetune(material: Material) -> list[str]:
    return ["finetune", "-r", "tiny/squad", f"model.pretrained={material.model}", *material.questions]


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "llmkit", *arguments]
    return subprocess.Popen(program, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_after_checkpoint(arguments: list[str], run: Path, cwd: Path) -> None:
    """Start a command and SIGKILL it some steps after its first checkpoint is whole."""
    with start(*arguments, cwd=cwd) as process:
        wait_for(run, "checkpoints/*/whole.json", process)
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(("number", "processes"), [slow("SIGINT", 1), slow("SIGTERM", 1), slow("SIGTERM", 2)])
def test_a_signal_saves_and_stops(number: str, processes: int, folder: Path, pretrain: list[str]) -> None:
    arguments = [*pretrain, "train.max_steps=60", "train.logging_steps=1", "-n", str(processes)]
    whole, stopped = f"never-stopped-{processes}", f"{number}-{processes}"
    if not (folder / whole).is_dir():
        if processes == 1:
            command(folder, *arguments, "-o", whole)
        else:
            run_command(*arguments, "-o", whole, cwd=folder)
    with start(*arguments, "-o", stopped, cwd=folder) as process:
        wait_for(folder / stopped, "log.jsonl", process)
        process.send_signal(signal.Signals[number])
        _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.Signals[number], err
    assert f"{number}: saving after this step" in err
    assert "which is saved" in err
    assert f"--resume -o {stopped}" in err
    assert "Traceback" not in err
    if processes == 1:
        command(folder, *arguments, "-o", stopped, "--resume")
    else:
        assert "resuming from" in run_command(*arguments, "-o", stopped, "--resume", cwd=folder).stderr
    assert weights(folder / stopped) == weights(folder / whole)


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint(folder: Path, pretrain: list[str]) -> None:
    arguments = [*pretrain, "train.max_steps=60", "train.eval_steps=20"]
    whole, full = folder / "never-full", folder / "full"
    command(folder, *arguments, "-o", str(whole))
    kill_after_checkpoint([*arguments, "-o", str(full)], full, folder)
    first = newest(full / "checkpoints")
    # A limit on the size of files is a full disk to those who write: weights fit in, moments do not.
    size = (whole / "model" / "model.safetensors").stat().st_size
    limited = subprocess.run(
        [sys.executable, "-m", "llmkit", *arguments, "-o", str(full), "--resume"],
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
    command(folder, *arguments, "-o", str(full), "--resume")
    assert weights(full) == weights(whole)


@pytest.mark.parametrize("name", [slow("pretrain"), slow("finetune")])
def test_a_killed_run_ends_with_the_same_weights(
    name: str, folder: Path, pretrain: list[str], finetune: list[str], llmkit: Command
) -> None:
    # Several epochs, accumulation, masks that fall and dropout: everything that a resume could get wrong.
    arguments = ["train.max_steps=60", "train.eval_steps=7", "train.gradient_accumulation_steps=2"]
    if name == "pretrain":
        falling = "corpus.mlm_probability=[0.4, 0.1]"
        arguments = [*pretrain, falling, "train.per_device_train_batch_size=64", *arguments]
    else:
        arguments = [*finetune, *arguments]
    whole, killed = folder / f"{name}-whole", folder / f"{name}-killed"
    command(folder, *arguments, "-o", str(whole))
    kill_after_checkpoint([*arguments, "-o", str(killed)], killed, folder)
    assert not (killed / "metrics.json").exists()
    code, _, err = llmkit(*arguments, "-o", str(killed), "--resume")
    assert code == 0, err
    assert "resuming from" in err
    assert weights(killed) == weights(whole)
    assert json.loads((killed / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())


@pytest.mark.parametrize("optim", [slow("adamw"), slow("muon")])
def test_two_processes_train_the_global_batch_that_the_recipe_says(
    optim: str, folder: Path, pretrain: list[str]
) -> None:
    shape = f"model.config={SHAPE[:-1]}, hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}}"
    masks = "corpus.mlm_probability=[0.5, 0.1]"
    shared = [*pretrain, shape, masks, f"train.optim={optim}", "train.max_steps=4", "train.logging_steps=1"]
    shapes = {
        "whole": ["train.per_device_train_batch_size=32"],
        "accumulated": ["train.per_device_train_batch_size=8", "train.gradient_accumulation_steps=4"],
    }
    for name, steps in shapes.items():
        command(folder, *shared, *steps, "-o", f"{optim}-{name}")
    steps = ["train.per_device_train_batch_size=8", "train.gradient_accumulation_steps=2"]
    two = run_command(*shared, *steps, "-o", f"{optim}-two", "-n", "2", cwd=folder)
    # The same 32 blocks a step, whoever computes which of them, and the same gradient of them.
    whole, *others = (training_steps(folder / f"{optim}-{name}") for name in ("whole", "accumulated", "two"))
    assert len(whole) == 4
    for other in others:
        for mine, its in zip(whole, other, strict=True):
            assert its["loss"] == pytest.approx(mine["loss"], rel=1e-5)
            assert its["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-5)
    assert "4 steps of 32 examples (8 × 2 accumulated × 2 processes)" in two.stderr
    assert two.stderr.count("model: ") == 1, "only one process speaks"
    assert json.loads((folder / f"{optim}-two" / "env.json").read_text())["processes"] == 2
    assert json.loads((folder / f"{optim}-two" / "metrics.json").read_text())["steps"] == 4


@pytest.mark.parametrize("launcher", [slow("-n"), slow("torchrun")])
def test_two_processes_give_the_same_scores(launcher: str, folder: Path, finetune: list[str]) -> None:
    run = folder / f"scored-{launcher}"
    command(folder, *finetune, "train.max_steps=2", "-o", str(run))
    alone = json.loads((run / "metrics.json").read_text())
    if launcher == "-n":
        done = run_command("eval", str(run), "--json", "-n", "2", cwd=folder)
    else:
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
        done = run_command("eval", str(run), "--json", cwd=folder, launcher=torchrun)
    together = json.loads(done.stdout)
    for name in ("exact_match", "f1"):
        assert together[name] == pytest.approx(alone[name], abs=1e-6)


def test_a_launcher_that_starts_one_process_for_two_is_refused(
    pretrain: list[str], llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_PORT", "29500")
    code, _, err = llmkit(*pretrain, "-o", "run")
    assert code == 1
    assert "started only this one" in err


def test_an_error_in_the_processes_is_an_error_of_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert relaunch(2, ["recipes", "show", "no-such-recipe"], Advice()) != 0


def test_resuming_on_other_data_is_refused(
    finetune: list[str], material: Material, llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Path(material.questions[0].partition("=")[2]), tmp_path / "moved.jsonl"
    second.write_text(first.read_text())
    arguments = [*finetune, f"data.train={second}", "train.max_steps=20", "train.save_steps=3", "-o", "moved"]

    def stopping(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    step = Trainer.training_step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", stopping)
        assert llmkit(*arguments)[0] == 130
    second.write_text("".join(line + "\n" for line in first.read_text().splitlines()[1:]))
    code, _, err = llmkit(*arguments, "--resume")
    assert code == 1
    assert "other data" in err
