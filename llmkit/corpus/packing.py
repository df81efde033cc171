"""Pack documents into full blocks, in which no document attends to another.

The documents of an epoch form one long stream of tokens, and block b is its slice [b·size, (b+1)·size). So there is no
padding, and any block can be read without those before it. A block records where its documents start: attention stays
within a document, and positions start at 0 in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from llmkit.corpus.shards import TokenShards
from llmkit.system.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Block:
    """One training block.

    `input_ids` [size]. `positions` [size]: counted from 0 in each document; a document that began in an earlier block
    counts from 0 again. `starts`: the indices in the block at which documents start, the first of them 0.
    """

    input_ids: Array
    positions: Array
    starts: Array


class PackedBlocks:
    """The blocks of a split, by number. Raises UserError if the split does not fill one block."""

    def __init__(self, shards: TokenShards, size: int) -> None:
        self.size = size
        self._shards = shards
        self._documents = _order(shards.weights)
        self._starts = np.concatenate([[0], np.cumsum(shards.lengths[self._documents])])
        self._count = int(self._starts[-1]) // size
        if not self._count:
            raise UserError(
                f"{shards.folder}: {int(self._starts[-1])} tokens in {len(shards)} documents do not fill one "
                f"block of {size}",
                remedy="use more text or a smaller corpus.block_size",
            )

    def __len__(self) -> int:
        return self._count

    @property
    def tokens(self) -> int:
        """The number of tokens in all blocks."""
        return self._count * self.size

    def __getitem__(self, number: int) -> Block:
        if not 0 <= number < self._count:
            raise IndexError(number)
        start = number * self.size
        ids, positions = np.empty(self.size, np.int64), np.empty(self.size, np.int64)
        index = int(np.searchsorted(self._starts, start, side="right")) - 1
        starts: list[int] = []
        filled = 0
        while filled < self.size:
            begin = start + filled - int(self._starts[index])
            end = min(begin + self.size - filled, int(self._starts[index + 1] - self._starts[index]))
            span = slice(filled, filled + end - begin)
            ids[span] = self._shards.tokens(int(self._documents[index]), begin, end)
            positions[span] = np.arange(end - begin)
            starts.append(filled)
            filled, index = span.stop, index + 1
        return Block(ids, positions, np.array(starts))


def _order(weights: Array) -> Array:
    """The documents of an epoch: weight 2 repeats each document, weight 0.5 takes every other one."""
    if (weights == 1).all():
        return np.arange(len(weights))
    # In a run of documents with the same weight w, document k is read floor((k+1)w) - floor(kw) times.
    change = np.flatnonzero(np.diff(weights)) + 1
    runs = np.split(np.arange(len(weights)), change)
    repeats = [
        np.floor((np.arange(len(run)) + 1) * weights[run[0]]) - np.floor(np.arange(len(run)) * weights[run[0]])
        for run in runs
    ]
    return np.repeat(np.arange(len(weights)), np.concatenate(repeats).astype(np.int64))
