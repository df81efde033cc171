"""Batches: which examples go together, and how they become tensors.

The order of an epoch is a pure function of (seed, epoch). Nothing about it is saved, and a resumed run recomputes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from llmkit.corpus.masking import Masks, Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.models.collator import Batch
from llmkit.tasks.values import IGNORED

if TYPE_CHECKING:
    import datasets

Array = np.ndarray[Any, np.dtype[Any]]

POOL = 50  # batches to sort by length together, as transformers does for group_by_length


class EpochBatches(Sampler[list[int]]):
    """Batches of item numbers. Item i of epoch e has the number e · count + i, which encodes the epoch.

    With `lengths`, items of similar length are batched together, `group` batches at a time (those of one optimizer
    step), and the groups are shuffled. Only the last batch may be smaller.
    """

    def __init__(self, count: int, batch_size: int, seed: int, *, lengths: Array | None = None, group: int = 1) -> None:
        self.batch_size = batch_size
        self.drop_last = False  # accelerate reads this and batch_size
        self._count, self._seed, self._lengths, self._group = count, seed, lengths, group
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self._count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        # Counter [0, 1, …] keeps this stream apart from those of the masks, which have a 0 there.
        random = np.random.Generator(np.random.Philox(key=self._seed, counter=[0, 1, self.epoch, 0]))
        order = random.permutation(self._count)
        if self._lengths is not None:
            order = self._bucketed(order, random)
        order += self.epoch * self._count
        for start in range(0, self._count, self.batch_size):
            yield order[start : start + self.batch_size].tolist()

    def _bucketed(self, order: Array, random: np.random.Generator) -> Array:
        assert self._lengths is not None
        size = self.batch_size * self._group
        pools = [order[start : start + size * POOL] for start in range(0, len(order), size * POOL)]
        pools = [pool[np.argsort(-self._lengths[pool], kind="stable")] for pool in pools]
        groups = [pool[start : start + size] for pool in pools for start in range(0, len(pool), size)]
        whole = [group for group in groups if len(group) == size]
        rest = [group for group in groups if len(group) < size]
        return np.concatenate([whole[i] for i in random.permutation(len(whole))] + rest)


class MaskedBlocks(Dataset[Any]):
    """Masked blocks, by the item numbers of EpochBatches."""

    def __init__(
        self,
        blocks: PackedBlocks,
        vocabulary: Vocabulary,
        *,
        probability: float,
        whole_words: bool,
        seed: int,
    ) -> None:
        self._blocks = blocks
        self._masks = Masks(vocabulary, probability=probability, whole_words=whole_words, seed=seed)
        self.block_size = blocks.size

    def __len__(self) -> int:
        return len(self._blocks)

    def name(self, item: int) -> str:
        """What to call an item in messages: the number of its block."""
        return f"block {item % len(self._blocks):,}"

    def __getitems__(self, items: Sequence[int] | Array) -> dict[str, Array]:
        """The blocks of a batch, for `collate_blocks`. A DataLoader calls this if it is there."""
        epochs, numbers = np.divmod(np.asarray(items, np.int64), len(self._blocks))
        blocks = self._blocks.read(numbers)
        masked, positions = self._masks.mask(blocks.input_ids, epochs, numbers)
        return {
            "input_ids": masked,
            "position_ids": blocks.positions,
            "cu_seq_lens": np.append(blocks.starts, masked.size).astype(np.int32),
            "masked_positions": positions,
            "labels": blocks.input_ids.reshape(-1)[positions],
        }


def collate_blocks(blocks: Mapping[str, Array], *, few_shapes: bool = False) -> Batch:
    """Blocks of MaskedBlocks as the inputs of BertForMaskedLM.forward, which documents their shapes.

    With `few_shapes`, documents of no length and targets that do not count make up the next number of `_bucket`: a
    compiled model and a GPU's allocator know most batches by then.
    """
    batch = dict(blocks)
    if few_shapes:
        ends, positions, labels = (batch[name] for name in ("cu_seq_lens", "masked_positions", "labels"))
        batch["cu_seq_lens"] = _filled(ends, _bucket(len(ends) - 1) + 1, ends[-1])
        batch["masked_positions"] = _filled(positions, _bucket(len(positions)), 0)
        batch["labels"] = _filled(labels, _bucket(len(labels)), IGNORED)
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def _bucket(count: int) -> int:
    """`count`, rounded up: to a multiple of 64, or of an eighth of the power of two below it."""
    step = max(64, (1 << count.bit_length()) // 16)
    return -(-count // step) * step


def _filled(values: Array, size: int, filler: int) -> Array:
    filled = np.full(size, filler, values.dtype)
    filled[: len(values)] = values
    return filled


class Features(Dataset[dict[str, Any]]):
    """A task's features, by the item numbers of EpochBatches. `ids[n]` is the id of example n."""

    def __init__(self, features: datasets.Dataset, ids: Sequence[str]) -> None:
        self._features, self._ids = features, ids

    def name(self, item: int) -> str:
        """What to call an item in messages: the id of its example."""
        return str(self._ids[self[item]["example"]])

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, item: int) -> dict[str, Any]:
        row: dict[str, Any] = self._features[item % len(self._features)]
        return row

    def __getitems__(self, items: Sequence[int]) -> list[dict[str, Any]]:
        """The features of a batch, for a collator."""
        columns = self._features[[item % len(self._features) for item in items]]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
