"""Signals during training and its evaluations: what is left, and what the run does when it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command
from support.runs import tune, weights
from transformers import BertForQuestionAnswering

from llmkit.system.stop_signals import STOP_SIGNALS
from llmkit.training.checkpoints import evaluation_due, newest
from llmkit.training.trainer import Trainer

Interrupt = Callable[..., list[int]]

# Evaluations of twelve batches, after the steps 4, 8 and 12; the last finds the best model.
MANY = ["train.per_device_eval_batch_size=2", "train.eval_steps=4", "train.logging_steps=1", "train.learning_rate=3e-3"]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interrupt]:
    """`interrupt(training=7)`: Ctrl-C in that forward pass, counted from 1; returns what is counted afterwards."""
    # What a shell starts in the background ignores Ctrl-C, and so do its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    forward = BertForQuestionAnswering.forward

    def set_interrupt(**moments: int) -> list[int]:
        passes = {"training": 0, "evaluating": 0}
        later = [0]

        def interrupted(self: Any, *args: Any, **inputs: Any) -> Any:
            kind = "training" if torch.is_grad_enabled() else "evaluating"
            passes[kind] += 1
            if passes[kind] == moments.get(kind):
                os.kill(os.getpid(), signal.SIGINT)
            elif passes[kind] > moments.get(kind, 10**6):
                later[0] += 1
            return forward(self, *args, **inputs)

        monkeypatch.setattr(BertForQuestionAnswering, "forward", interrupted)
        return later

    yield set_interrupt
    signal.signal(signal.SIGINT, before)


def told(run: Path) -> list[dict[str, Any]]:
    """A run's log without what the clock says."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    clock = ("seconds", "tokens_per_second", "peak_share", "eval_runtime")
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]


MADE: list[Path] = []


@pytest.fixture
def whole(folder: Path, llmkit: Command) -> Path:
    """The run that nothing happens to, made once."""
    if not MADE:
        code, _, err = llmkit(*tune(folder, *MANY))
        assert code == 0, err
        MADE.append((folder / "run").rename(folder / "whole"))
    return MADE[0]


@pytest.mark.parametrize(
    ("moment", "step"),
    [pytest.param(3, 4, marks=pytest.mark.slow), (15, 8), pytest.param(27, 12, marks=pytest.mark.slow)],
)
def test_ctrl_c_in_an_evaluation_leaves_it(
    moment: int, step: int, whole: Path, folder: Path, llmkit: Command, interrupt: Interrupt
) -> None:
    later = interrupt(evaluating=moment)
    code, _, err = llmkit(*tune(folder, *MANY))
    assert code == 130
    assert later == [0], "nothing more was evaluated"
    assert "SIGINT: saving after this step" in err
    assert f"stopped after step {step}, which is saved; a resumed run starts with its evaluation" in err
    assert "--resume -o run" in err
    checkpoint = newest(folder / "run" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == f"checkpoint-{step}"
    assert evaluation_due(checkpoint)
    assert f"step {step}: " not in err

    # Stopped again in that evaluation, it is still due.
    interrupt(evaluating=3)
    code, _, err = llmkit(*tune(folder, *MANY), "--resume")
    assert code == 130
    assert f"stopped after step {step}, which is saved; a resumed run" in err

    interrupt()
    code, _, err = llmkit(*tune(folder, *MANY), "--resume")
    assert code == 0, err
    assert f"step {step}: " in err
    assert weights(folder / "run") == weights(whole)
    assert told(folder / "run") == told(whole)
    for name in ("metrics.json", "predictions.jsonl"):
        assert (folder / "run" / name).read_text() == (whole / name).read_text()


def test_ctrl_c_in_a_step_that_is_to_be_evaluated(
    whole: Path, folder: Path, llmkit: Command, interrupt: Interrupt
) -> None:
    later = interrupt(training=8)
    code, _, err = llmkit(*tune(folder, *MANY))
    assert code == 130
    assert later == [0]
    assert "after step 8, which is saved" in err
    interrupt()
    code, _, err = llmkit(*tune(folder, *MANY), "--resume")
    assert code == 0, err
    assert weights(folder / "run") == weights(whole)
    assert told(folder / "run") == told(whole)


def test_a_run_that_made_its_last_step_makes_no_other(folder: Path, llmkit: Command) -> None:
    # In the middle of an epoch, after whose last step there would be no other anyway.
    command = tune(folder, *MANY, "train.max_steps=11", "train.per_device_train_batch_size=8")
    code, _, err = llmkit(*command)
    assert code == 0, err
    run = folder / "run"
    before = weights(run)
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "model")
    code, _, err = llmkit(*command, "--resume")
    assert code == 0, err
    assert weights(run) == before
    assert not (run / "checkpoints" / "checkpoint-12").exists()


def test_ctrl_c_leaves_an_evaluation_command_at_once(
    whole: Path, folder: Path, llmkit: Command, interrupt: Interrupt
) -> None:
    later = interrupt(evaluating=1)
    code, out, err = llmkit("eval", str(whole))
    assert code == 130
    assert later == [0]
    assert out == ""
    assert "stopped" in err


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`signals(SIGTERM, SIGINT)`: in the second step, all at once."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    step = Trainer.training_step

    def set_signals(*numbers: signal.Signals) -> None:
        def signalled(self: Trainer, *args: Any, **kwargs: Any) -> torch.Tensor:
            for number in numbers if self.state.global_step == 1 else ():
                signal.raise_signal(number)
            return step(self, *args, **kwargs)

        monkeypatch.setattr(Trainer, "training_step", signalled)

    yield set_signals
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_job_manager_repeats_itself(folder: Path, llmkit: Command, signals: Callable[..., None]) -> None:
    signals(signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
    code, _, err = llmkit(*tune(folder))
    assert code == 128 + signal.SIGUSR1
    assert err.count("saving after this step") == 1
    assert "stopped after step 2, which is saved" in err
    assert newest(folder / "run" / "checkpoints") == folder / "run" / "checkpoints" / "checkpoint-2"


def test_a_later_ctrl_c_does_not_wait(
    folder: Path, llmkit: Command, signals: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.system.stop_signals.REPEATED", 0.0)
    signals(signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
    assert llmkit(*tune(folder))[0] == 130
    assert not list((folder / "run").glob("checkpoints/checkpoint-*"))
    # What a signal does afterwards is what it did before.
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
