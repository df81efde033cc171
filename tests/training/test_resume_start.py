"""How much a run draws before its first step when it goes on: the same, however far it has come."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command
from support.runs import tune

from llmkit.system.errors import UserError
from llmkit.training.batches import EpochBatches, Features
from llmkit.training.checkpoints import SEAL, seal
from llmkit.training.trainer import Trainer

STEPS = ["train.max_steps=10010", "train.eval_steps=10010", "train.per_device_train_batch_size=4", "data.max_length=64"]


def pretend(checkpoint: Path, step: int) -> None:
    """Make a checkpoint of a later step out of one."""
    later = checkpoint.with_name(f"checkpoint-{step}")
    shutil.copytree(checkpoint, later)
    (later / SEAL).unlink()
    state = json.loads((later / "trainer_state.json").read_text())
    (later / "trainer_state.json").write_text(json.dumps({**state, "global_step": step}))
    seal(later, seconds=1.0)


@pytest.mark.slow
def test_it_does_not_grow_with_the_step(folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    step, item, batches = Trainer.training_step, Features.__getitem__, EpochBatches.__iter__
    drawn = {"items": 0, "batches": 0}

    def stopping(self: Trainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step == 9:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", stopping)
    code, _, err = llmkit(*tune(folder, *STEPS))
    assert code == 130, err

    def counting_item(self: Features, number: int) -> Any:
        drawn["items"] += 1
        return item(self, number)

    def counting_batches(self: EpochBatches) -> Iterator[list[int]]:
        for batch in batches(self):
            drawn["batches"] += 1
            yield batch

    def first(self: Trainer, *_: Any, **__: Any) -> torch.Tensor:
        raise UserError(f"step {self.state.global_step}", remedy="none")

    monkeypatch.setattr(Trainer, "training_step", first)
    monkeypatch.setattr(Features, "__getitem__", counting_item)
    monkeypatch.setattr(EpochBatches, "__iter__", counting_batches)
    counted = []
    for number in (10, 10_000):
        if number > 10:
            pretend(folder / "run" / "checkpoints" / "checkpoint-10", number)
        drawn.update(items=0, batches=0)
        code, _, err = llmkit(*tune(folder, *STEPS), "--resume")
        assert code == 1
        assert f"error: step {number}\n" in err
        counted.append(dict(drawn))
    # The loader is a micro-batch ahead. Batches of the epoch that were trained on are passed over as lists of numbers.
    assert counted[0]["items"] == counted[1]["items"] == 2 * 4
    an_epoch = 139 // 4 + 1  # windows of the questions
    assert all(count["batches"] <= an_epoch for count in counted)
