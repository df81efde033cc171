"""Feed the model: batches are made while the device computes, and copied to it without waiting."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing import active_children
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from llmkit.system.stop_signals import STOP_SIGNALS
from llmkit.training.batches import EpochBatches


def workers(asked: int | None) -> int:
    """Processes that make batches. If no number is asked for, two for a GPU, and none on a CPU, whose cores compute."""
    if asked is not None:
        return asked
    return 2 if torch.cuda.is_available() else 0


def batch_loader(
    data: Dataset[Any], batches: EpochBatches, collate: Callable[[Any], Any], *, workers: int, ahead: int
) -> DataLoader[Any]:
    """Batches in the order of `batches`. `workers` processes keep at least `ahead` of them ready, in pinned memory if
    there is a GPU.

    Workers change nothing about a batch. They live as long as an epoch: a DataLoader draws its base seed from torch's
    generator at the start of each epoch. Persistent workers would draw it once, and a run resumed in a later epoch
    would differ.
    """
    if not workers:
        return DataLoader(data, batch_sampler=batches, collate_fn=collate, pin_memory=torch.cuda.is_available())
    _end_workers_at_exit()
    # tokenizers would warn of every process that is forked; ours tokenize nothing.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    return DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        num_workers=workers,
        prefetch_factor=max(2, -(-ahead // workers)),
        # The corpus is memory-mapped: a forked process shares it, any other would be sent a copy.
        multiprocessing_context=_Deaf() if sys.platform == "linux" else None,
    )


class _DeafProcess(ForkProcess):
    """A process that is started with the stop signals blocked, so that there is no moment at which one could end it."""

    def start(self) -> None:
        """Start it. The signals stay blocked in the new process, as in any that is forked here."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Deaf(ForkContext):
    """Leaves signals to the trainer. A job manager signals every process, a terminal all of its foreground, and workers
    must serve until the step is done: they end with their trainer."""

    Process = _DeafProcess


@cache  # registered once
def _end_workers_at_exit() -> None:
    """Kill workers that are left when the program exits.

    They do not hear SIGTERM. After an error, whose traceback keeps its epoch alive, multiprocessing would send them one
    and wait for ever.
    """
    atexit.register(_end_workers)


def _end_workers() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would report each as a failure
    for child in active_children():
        if child.daemon:
            child.kill()
