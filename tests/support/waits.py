"""Look at training steps for what would make the CPU wait for a GPU."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from llmkit.training.trainer import Trainer

aten = torch.ops.aten
# They read a value, or make a tensor whose size depends on values. On a GPU they wait for all work before them.
WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.bincount, aten.equal}

SEED_OF_WORKERS = "torch/utils/data/dataloader.py"  # a tensor of the CPU's, wherever the model is


class Waits(TorchDispatchMode):
    """The places of the calls that would wait, while this is on."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func.overloadpacket in (aten.index, aten.index_put_) and any(
            index is not None and index.dtype is torch.bool for index in args[1]
        )
        if func.overloadpacket in WAITING or by_mask:
            stack = traceback.extract_stack()[:-1]
            if not any(frame.filename.endswith(SEED_OF_WORKERS) for frame in stack):
                frame = next(frame for frame in reversed(stack) if "/torch/" not in frame.filename)
                self.places.append(f"{func} at {frame.filename}:{frame.lineno}: {frame.line}")
        return func(*args, **(kwargs or {}))


def watch_steps(monkeypatch: pytest.MonkeyPatch, begin: Callable[[], Any], end: Callable[[], Any]) -> list[int]:
    """Call `begin` once a step is over that logged or evaluated, and `end` before the next one does.

    Between them is all that a Trainer does in a step: feeding, forward, backward, clipping, optimizer, callbacks.
    Returns the numbers of the steps that were watched, which grow as they are made.
    """
    steps: list[int] = []
    watching = False
    original = Trainer._maybe_log_save_evaluate

    def wrapped(self: Trainer, *args: Any, **kwargs: Any) -> None:
        nonlocal watching
        due = self.control.should_log or self.control.should_evaluate or self.control.should_save
        if watching and due:
            end()
            watching = False
        elif watching:
            steps.append(self.state.global_step)
        original(self, *args, **kwargs)
        if due and not self.control.should_training_stop:
            begin()
            watching = True

    monkeypatch.setattr(Trainer, "_maybe_log_save_evaluate", wrapped)
    return steps
