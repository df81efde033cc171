"""Batches for a model that is used, not trained: as many tokens as a device computes well at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[Any]]

# Tokens, padding included. A GPU would wait for the kernels of a smaller batch to be launched; a CPU's cache would not
# hold a larger one.
GPU_TOKENS, CPU_TOKENS = 2**16, 2**12
MAX_ROWS = 1024
MAX_PADDED = 2  # times the tokens: embeddings and heads see the padding that the layers of an unpadded model drop


def tokens_at_a_time(device: torch.device) -> int:
    """The size of a batch in tokens."""
    return CPU_TOKENS if device.type == "cpu" else GPU_TOKENS


def rows_at_a_time(length: int, device: torch.device, max_rows: int = MAX_ROWS) -> int:
    """How many rows of this many tokens are a batch: at least one."""
    return min(max_rows, max(1, tokens_at_a_time(device) // length))


def batches_of(
    lengths: Array, batch_size: int | None, device: torch.device, *, unpadded: bool = False, max_rows: int = MAX_ROWS
) -> list[Array]:
    """Batches of row numbers, longest rows first, which keeps padding low.

    Each has `batch_size` rows, or if that is None, at most `max_rows` rows and the tokens of the device. A longer row
    is a batch. An `unpadded` model counts no padding, up to MAX_PADDED times the tokens. The batches do not depend on
    the number of processes.
    """
    order = np.argsort(-lengths, kind="stable")
    if batch_size is not None:
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    budget, batches, start = tokens_at_a_time(device), [], 0
    while start < len(order):
        some = lengths[order[start : start + max_rows]]
        padded = some[0] * np.arange(1, len(some) + 1)
        computed = np.maximum(np.cumsum(some), padded / MAX_PADDED) if unpadded else padded
        stop = start + max(1, int(np.searchsorted(computed, budget, side="right")))
        batches.append(order[start:stop])
        start = stop
    return batches
