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
class Blocks:
    """Some training blocks.

    `input_ids` [B, size]. `positions` [B, size]: counted from 0 in each document; a document that began in an earlier
    block counts from 0 again. `starts` [D]: where documents start in the flattened blocks; each block starts one.
    """

    input_ids: Array
    positions: Array
    starts: Array


class PackedBlocks:
    """The blocks of a split, by number. Raises UserError if the split does not fill one block."""

    def __init__(self, shards: TokenShards, size: int) -> None:
        self.size = size
        documents = _order(shards.weights)
        lengths = shards.lengths[documents]
        self._starts = np.concatenate([[0], np.cumsum(lengths)])  # of the documents in the stream, and its end
        self._count = int(self._starts[-1]) // size
        if not self._count:
            raise UserError(
                f"{shards.folder}: {int(self._starts[-1])} tokens in {len(shards)} documents do not fill one "
                f"block of {size}",
                remedy="use more text or a smaller corpus.block_size",
            )
        # Documents that follow one another in a file are one run of tokens. Without weights, a file is a single run.
        file, first = shards.file[documents], shards.first[documents]
        breaks = np.flatnonzero((np.diff(file) != 0) | (first[1:] != first[:-1] + lengths[:-1])) + 1
        runs = np.concatenate([[0], breaks])
        self._files, self._file, self._first = shards.files, file[runs], first[runs]
        self._runs = self._starts[np.append(runs, len(documents))]  # where they start in the stream, and its end

    def __len__(self) -> int:
        return self._count

    @property
    def tokens(self) -> int:
        """The number of tokens in all blocks."""
        return self._count * self.size

    def read(self, numbers: Array) -> Blocks:
        """The blocks with these numbers, in this order. Raises IndexError if there is no such block."""
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self._count:
            raise IndexError(f"a block of {numbers}, of {self._count}")
        begins, tokens = numbers * self.size, len(numbers) * self.size
        starts, _ = self._pieces(self._starts, begins)
        positions = np.arange(tokens)
        positions -= np.repeat(starts, np.diff(starts, append=tokens))
        return Blocks(self._tokens(begins), positions.reshape(-1, self.size), starts)

    def _tokens(self, begins: Array) -> Array:
        """Copy the tokens of blocks that begin at these tokens of the stream."""
        ids = np.empty(len(begins) * self.size, np.int64)
        starts, run = self._pieces(self._runs, begins)
        at = self._first[run] + np.maximum(begins[starts // self.size] - self._runs[run], 0)
        stops = np.append(starts[1:], len(ids))
        for file, first, start, stop in zip(
            self._file[run].tolist(), at.tolist(), starts.tolist(), stops.tolist(), strict=True
        ):
            ids[start:stop] = self._files[file][first : first + stop - start]
        return ids.reshape(-1, self.size)

    def _pieces(self, edges: Array, begins: Array) -> tuple[Array, Array]:
        """Cut blocks where documents or runs, which begin at `edges` of the stream, change.

        Returns the starts of the pieces in the flattened blocks, and the number of each one's document or run.
        """
        first = np.searchsorted(edges, begins, side="right") - 1
        counts = np.searchsorted(edges, begins + self.size) - first
        block = np.repeat(np.arange(len(begins)), counts)
        owner = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        starts: Array = np.maximum(edges[owner] - begins[block], 0) + block * self.size
        return starts, owner


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
