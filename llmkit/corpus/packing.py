"""Documents → full blocks that do not see each other.

The documents of an epoch, one after the other, are one long stream of tokens; block b is its slice
[b·size, (b+1)·size). Every token of a block is real, nothing is padded, and any block is found without
reading those before it. A block says where its documents start; attention that is told so keeps them apart,
and positions start again at 0 with each.
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
    """One training block: `size` tokens.

    `positions[i]` is the place of token i in that part of its document that is in the block; `starts` are
    the places in the block, the first of them 0, where such parts start.
    """

    input_ids: Array
    positions: Array
    starts: Array


class PackedBlocks:
    """The blocks of a split, by number. Raises UserError where the split does not fill one block."""

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
                remedy="use more text, a smaller corpus.block_size, or documents=blank_line to cut a file into "
                "documents (every 200th, and the first, is held out)",
            )

    def __len__(self) -> int:
        return self._count

    @property
    def tokens(self) -> int:
        """Tokens in all blocks together."""
        return self._count * self.size

    def __getitem__(self, number: int) -> Block:
        if not 0 <= number < self._count:
            raise IndexError(number)
        start = number * self.size
        ids, positions = np.empty(self.size, np.int64), np.empty(self.size, np.int64)
        at = int(np.searchsorted(self._starts, start, side="right")) - 1
        starts: list[int] = []
        filled = 0
        while filled < self.size:
            begin = start + filled - int(self._starts[at])
            end = min(begin + self.size - filled, int(self._starts[at + 1] - self._starts[at]))
            span = slice(filled, filled + end - begin)
            ids[span] = self._shards.tokens(int(self._documents[at]), begin, end)
            positions[span] = np.arange(end - begin)
            starts.append(filled)
            filled, at = span.stop, at + 1
        return Block(ids, positions, np.array(starts))


def _order(weights: Array) -> Array:
    """Documents of an epoch, by weight: 2 reads one twice, 0.5 every other one."""
    if (weights == 1).all():
        return np.arange(len(weights))
    # Of every run of documents with the same weight w, document k is read floor((k+1)w) - floor(kw) times.
    change = np.flatnonzero(np.diff(weights)) + 1
    runs = np.split(np.arange(len(weights)), change)
    repeats = [
        np.floor((np.arange(len(run)) + 1) * weights[run[0]]) - np.floor(np.arange(len(run)) * weights[run[0]])
        for run in runs
    ]
    return np.repeat(np.arange(len(weights)), np.concatenate(repeats).astype(np.int64))
