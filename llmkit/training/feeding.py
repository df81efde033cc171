"""Feed the model: batches are made while the device computes, and copied to it without waiting."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from llmkit.training.batches import EpochBatches
from llmkit.training.signals import leave_signals_to_the_main_process


def default_workers() -> int:
    """Processes that make batches: two for a GPU. A CPU computes itself, so there they would only take its cores."""
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
    # tokenizers would warn of every process that is forked; ours tokenize nothing.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    return DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        num_workers=workers,
        prefetch_factor=max(2, -(-ahead // workers)),
        worker_init_fn=leave_signals_to_the_main_process,
        # The corpus is memory-mapped: a forked process shares it, any other would be sent a copy.
        multiprocessing_context="fork" if sys.platform == "linux" else None,
    )
