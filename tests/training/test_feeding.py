"""The workers that make batches: that they change nothing, outlive signals, and are gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from support import Command
from support.runs import tune, weights
from torch.utils.data import Dataset

from llmkit.models.collator import to_device
from llmkit.training.batches import EpochBatches
from llmkit.training.feeding import batch_loader, workers
from llmkit.training.trainer import Trainer


class Numbers(Dataset[Any]):
    """Items that are their numbers."""

    def __getitems__(self, items: list[int]) -> list[int]:
        return items


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_go_on_after_a_signal_and_end_with_the_batches(number: signal.Signals) -> None:
    batches = EpochBatches(400, 2, seed=1)
    before = set(psutil.Process().children())
    feed = iter(batch_loader(Numbers(), batches, list, workers=2, ahead=5))
    seen = [next(feed)]
    workers = set(psutil.Process().children()) - before
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, number)  # as Ctrl-C does, and a scheduler that signals every process
    seen.extend(feed)
    assert seen == list(batches)
    del feed
    _, left = psutil.wait_procs(list(workers), timeout=20)
    assert not left


def test_an_abandoned_epoch_leaves_no_worker() -> None:
    before = set(psutil.Process().children())
    feed = iter(batch_loader(Numbers(), EpochBatches(400, 2, seed=1), list, workers=2, ahead=1))
    next(feed)
    workers = set(psutil.Process().children()) - before
    del feed
    _, left = psutil.wait_procs(list(workers), timeout=20)
    assert not left


EXITS = """
import sys
from llmkit.training.batches import EpochBatches
from llmkit.training.feeding import batch_loader

class Numbers:
    def __getitems__(self, items):
        return items

feed = iter(batch_loader(Numbers(), EpochBatches(400, 2, seed=1), list, workers=2, ahead=1))
next(feed)
raise RuntimeError("a bug")
"""


@pytest.mark.slow
def test_an_error_with_workers_ends_the_program() -> None:
    done = subprocess.run([sys.executable, "-c", EXITS], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: a bug\n")


def test_two_workers_for_a_gpu_and_none_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers(None) == (2 if torch.cuda.is_available() else 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert workers(None) == 2
    assert workers(0) == 0


def test_a_step_is_prefetched() -> None:
    loader = batch_loader(Numbers(), EpochBatches(400, 2, seed=1), list, workers=2, ahead=8)
    assert loader.prefetch_factor == 4
    assert batch_loader(Numbers(), EpochBatches(4, 2, seed=1), list, workers=2, ahead=1).prefetch_factor == 2


class Copied(torch.Tensor):
    """Remembers how it was copied."""

    def pin_memory(self, *_: Any) -> Any:
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs


def test_copies_do_not_wait() -> None:
    device = torch.device("cuda", 3)
    copied: Any = to_device({"input_ids": torch.zeros(2).as_subclass(Copied)}, device)
    assert copied == {"input_ids": ((device,), {"non_blocking": True})}


def test_neither_workers_nor_less_memory_change_a_weight(
    folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with dropout, whose random numbers are drawn where the batches are asked for."""
    again = []
    step = Trainer.training_step

    def watched(self: Trainer, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        again.append(model.bert.encoder.layer[0].gradient_checkpointing)
        return step(self, model, inputs, num_items_in_batch)

    monkeypatch.setattr(Trainer, "training_step", watched)
    found = {}
    for change in ("dataloader_num_workers=0", "dataloader_num_workers=2", "activation_checkpointing=true"):
        again.clear()
        # 64 examples in batches of 16: three epochs, each with workers of its own.
        code, _, err = llmkit(*tune(folder, f"train.{change}"), "-o", change)
        assert code == 0, err
        assert set(again) == {change == "activation_checkpointing=true"}
        found[change] = weights(folder / change)
    assert len(set(found.values())) == 1, list(found)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_is_left(number: signal.Signals, folder: Path) -> None:
    """Ctrl-C reaches every process of the group, and the run is saved; a kill reaches the trainer alone."""
    sizes = ["train.max_steps=100000", "train.per_device_train_batch_size=1", "train.logging_steps=10"]
    command = [sys.executable, "-m", "llmkit", *tune(folder, *sizes, "train.dataloader_num_workers=2")]
    trainer = psutil.Popen(command, cwd=folder, start_new_session=True)
    try:
        log, workers = folder / "run" / "log.jsonl", []
        while not (log.exists() and len(workers) == 2) and trainer.poll() is None:
            time.sleep(0.05)
            workers = trainer.children()
        if number == signal.SIGINT:
            os.killpg(trainer.pid, number)
            assert trainer.wait(60) == 130
            assert list(folder.glob("run/checkpoints/checkpoint-*/whole.json"))
    finally:
        with suppress(psutil.NoSuchProcess):
            trainer.kill()
    _, left = psutil.wait_procs(workers, timeout=30)
    assert workers
    assert not left
