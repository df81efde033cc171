"""A process of several fails: the command ends soon, with that process's error and no other's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.runs import PRETRAIN, SHAPE, Material, run_command, weights

from llmkit.training.checkpoints import newest

# What happens in processes whose rank is in FAULT_RANKS, at FAULT: `train` in the sixth step, `evaluate` in the second
# batch of an evaluation. Python imports a module of this name when it starts.
SITECUSTOMIZE = """
import os, signal, time
from pathlib import Path

if os.environ.get("RANK") in os.environ["FAULT_RANKS"].split(","):
    import torch, transformers
    from llmkit.system.errors import UserError
    from llmkit.models.masked_lm import Packed
    from llmkit.training.trainer import Trainer

    place, what, *limit = os.environ["FAULT"].split()
    evaluated = 0

    def fault():
        Path(os.environ["FAULT_AT"]).write_text(str(time.time()))
        if what == "user":
            raise UserError("the data is gone", remedy="bring it back")
        if what == "bug":
            {}["nothing"]
        os.kill(os.getpid(), getattr(signal, what))

    late = Path(os.environ["FAULT_AT"])
    step = Trainer.training_step

    def training_step(self, *args, **kwargs):
        if self.state.global_step == 5 and place == "train":
            fault()
        if self.state.global_step == 5 and place == "memory":
            late.write_text(str(time.time()))
        return step(self, *args, **kwargs)

    Trainer.training_step = training_step

    def limited(kind):
        forward = kind.forward

        def new(self, *args, **kwargs):
            global evaluated
            if place == "evaluate" and torch.is_inference_mode_enabled():
                evaluated += 1
                if evaluated == 2:
                    fault()
            if place == "memory" and torch.is_grad_enabled() and len(kwargs["input_ids"]) > int(what):
                if not limit or late.exists():
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return forward(self, *args, **kwargs)

        kind.forward = new

    limited(Packed)
    limited(transformers.BertForQuestionAnswering)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands are run, with the fault that happens in them."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "fault").mkdir()
    (folder / "fault" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return folder


@pytest.fixture
def pretrain(material: Material) -> list[str]:
    """A command of 40 steps, which evaluates in batches of one block, of which there are four."""
    small = ["train.per_device_eval_batch_size=1", "train.max_steps=40", "train.save_steps=3"]
    return ["pretrain", *PRETRAIN, f"corpus.path={material.shards}", *small]


Ended = tuple[int, str, float]


@pytest.fixture
def failing(folder: Path, tmp_path: Path) -> Callable[..., Ended]:
    """Run a command in which a fault happens; returns its exit code, what it said, and the seconds since the fault."""

    def run(fault: str, *arguments: str, ranks: str = "1", launcher: tuple[str, ...] = ("-m",)) -> Ended:
        at = tmp_path / "at"
        path = os.pathsep.join([str(folder / "fault"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "FAULT": fault, "FAULT_RANKS": ranks, "FAULT_AT": str(at), "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, *launcher, "llmkit", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        ended = time.time()
        return done.returncode, done.stderr, ended - float(at.read_text()) if at.is_file() else 0.0

    return run


def check_told(what: str, err: str) -> None:
    """An end is told once, and that of the process that failed."""
    assert "gloo" not in err
    assert "Connection" not in err
    assert err.count("Traceback") == (1 if what == "bug" else 0), err
    if what == "user":
        assert err.count("error: the data is gone") == 1
        assert "Bring it back." in err
    elif what == "bug":
        assert "process 1 of 2 failed:" in err
        assert "KeyError: 'nothing'" in err
    else:
        assert f"error: process 1 of 2 (counting from 0) was killed by {what}" in err
        assert ("because memory ran out" in err) is (what == "SIGKILL")


CODES = {"user": 1, "bug": 1, "SIGKILL": 137, "SIGSEGV": 139}
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("place", "what"),
    [
        pytest.param("train", "user", marks=slow),
        pytest.param("train", "SIGKILL", marks=slow),
        pytest.param("train", "bug", marks=slow),
        pytest.param("train", "SIGSEGV", marks=slow),
        pytest.param("evaluate", "user", marks=slow),
        pytest.param("evaluate", "bug", marks=slow),
        pytest.param("evaluate", "SIGKILL", marks=slow),
    ],
)
def test_a_process_that_fails_ends_the_run(
    place: str, what: str, pretrain: list[str], failing: Callable[..., Ended]
) -> None:
    run = f"{place}-{what}"
    arguments = [*pretrain, "-o", run]
    code, err, seconds = failing(f"{place} {what}", *arguments, "-n", "2")
    assert code == CODES[what], err
    check_told(what, err)
    assert seconds < 60
    if what.startswith("SIG"):
        assert "continue with the same command and --resume" in err


@slow
@pytest.mark.parametrize("what", ["user", "bug", "SIGKILL"])
def test_a_process_that_fails_ends_an_evaluation(
    what: str, folder: Path, material: Material, failing: Callable[..., Ended]
) -> None:
    if not (folder / "tuned").is_dir():
        model = [f"model.config={SHAPE}", f"model.tokenizer={material.shards / 'tokenizer'}", *material.questions]
        run_command("finetune", "-r", "tiny/squad", *model, "train.max_steps=2", "-o", "tuned", cwd=folder)
    code, err, seconds = failing(f"evaluate {what}", "eval", "tuned", "--batch-size", "4", "-n", "2")
    assert code == CODES[what], err
    check_told(what, err)
    assert seconds < 60
    assert "--resume" not in err


@pytest.mark.slow
def test_an_error_of_all_processes_is_told_once(pretrain: list[str], failing: Callable[..., Ended]) -> None:
    arguments = [*pretrain, "-o", "shared"]
    code, err, _ = failing("train user", *arguments, "-n", "2", ranks="0,1")
    assert code == 1
    check_told("user", err)
    assert "of 2 failed" not in err


@slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_other_launchers_show_the_error(launcher: str, pretrain: list[str], failing: Callable[..., Ended]) -> None:
    start = {
        "torchrun": ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"),
        "accelerate": ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m"),
    }
    arguments = [*pretrain, "-o", launcher]
    code, err, seconds = failing("train user", *arguments, launcher=start[launcher])
    assert code == 1
    assert "error: the data is gone\nBring it back." in err
    root = err.partition("Root Cause (first observed failure):")[2]
    assert re.search(r"rank\s+: 1 ", root)
    assert "the data is gone" in root
    assert seconds < 60


@pytest.mark.slow
def test_ctrl_c_in_an_evaluation_of_two_processes(
    folder: Path, pretrain: list[str], failing: Callable[..., Ended]
) -> None:
    """The signal reaches one of them; both leave."""
    arguments = [*pretrain, "-n", "2"]
    run_command(*arguments, "-o", "whole", cwd=folder)
    code, err, seconds = failing("evaluate SIGINT", *arguments, "-o", "stopped")
    assert code == 130, err
    assert err.count("stopped after step 20, which is saved; a resumed run starts with its evaluation") == 1
    assert "Traceback" not in err
    assert seconds < 60
    checkpoint = newest(folder / "stopped" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-20"
    resumed = run_command(*arguments, "-o", "stopped", "--resume", cwd=folder)
    assert "step 20: " in resumed.stderr
    assert weights(folder / "stopped") == weights(folder / "whole")
    scores = [json.loads((folder / run / "metrics.json").read_text()) for run in ("stopped", "whole")]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_processes_agree_on_pieces_that_fit(folder: Path, pretrain: list[str], failing: Callable[..., Ended]) -> None:
    """One of two has less memory."""
    arguments = [*pretrain, "-n", "2"]
    code, err, _ = failing("memory 4", *arguments, "-o", "fitted", "--auto-batch")
    assert code == 0, err
    assert err.count("--auto-batch: 16 × 1 examples (1 in evaluations) do not fit in memory, 4 × 4 examples") == 1
    assert "steps of 32 examples (4 × 4 accumulated × 2 processes)" in err
    given = ["train.per_device_train_batch_size=4", "train.gradient_accumulation_steps=4"]
    run_command(*arguments, *given, "-o", "given", cwd=folder)
    assert weights(folder / "fitted") == weights(folder / "given")


@slow
def test_processes_whose_memory_runs_out_later_are_started_again(
    folder: Path, pretrain: list[str], failing: Callable[..., Ended], tmp_path: Path
) -> None:
    arguments = [*pretrain, "-n", "2", "-o", "later", "--auto-batch"]
    code, err, _ = failing("memory 8 late", *arguments)
    assert code == 0, err
    assert err.count("warning: out of memory") == 1
    assert "error" not in err
    assert err.count("resuming from") == 1
    train = yaml.safe_load((folder / "later" / "recipe.yaml").read_text())["train"]
    assert (train["per_device_train_batch_size"], train["gradient_accumulation_steps"]) == (8, 2)
