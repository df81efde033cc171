"""Batches: which examples go together, and how they become tensors.

The order of an epoch is a pure function of (seed, epoch). Nothing about it is saved, and a resumed run recomputes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from llmkit.corpus.masking import Vocabulary, mask_block
from llmkit.corpus.packing import PackedBlocks
from llmkit.models.collator import Batch

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


class MaskedBlocks(Dataset[dict[str, Array]]):
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
        self._blocks, self._vocabulary = blocks, vocabulary
        self._probability, self._whole_words, self._seed = probability, whole_words, seed
        self.block_size = blocks.size

    def __len__(self) -> int:
        return len(self._blocks)

    def name(self, item: int) -> str:
        """What to call an item in messages: the number of its block."""
        return f"block {item % len(self._blocks):,}"

    def __getitem__(self, item: int) -> dict[str, Array]:
        epoch, number = divmod(item, len(self._blocks))
        block = self._blocks[number]
        masked, positions = mask_block(
            block.input_ids,
            self._vocabulary,
            probability=self._probability,
            whole_words=self._whole_words,
            seed=self._seed,
            epoch=epoch,
            block=number,
        )
        return {
            "input_ids": masked,
            "position_ids": block.positions,
            "starts": block.starts,
            "masked_positions": positions,
            "labels": block.input_ids[positions],
        }


def collate_blocks(blocks: Sequence[Mapping[str, Array]]) -> Batch:
    """Collate blocks into the inputs of BertForMaskedLM.forward, which documents their shapes."""
    size = len(blocks[0]["input_ids"])
    batch = {
        name: torch.from_numpy(np.stack([block[name] for block in blocks])) for name in ("input_ids", "position_ids")
    }
    starts = [number * size + block["starts"] for number, block in enumerate(blocks)]
    batch["cu_seq_lens"] = torch.from_numpy(np.concatenate([*starts, [len(blocks) * size]]).astype(np.int32))
    flat = [number * size + block["masked_positions"] for number, block in enumerate(blocks)]
    batch["masked_positions"] = torch.from_numpy(np.concatenate(flat))
    batch["labels"] = torch.from_numpy(np.concatenate([block["labels"] for block in blocks]))
    return batch


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
