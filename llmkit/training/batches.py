"""Batches: which examples go together, and how they become tensors.

The order of an epoch is a pure function of (seed, epoch). Nothing about it is saved, and a resumed run recomputes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from llmkit.corpus.masking import Masks, Vocabulary
from llmkit.corpus.packing import PackedBlocks
from llmkit.models.collator import STEP, Batch, rounded_up
from llmkit.recipes.corpus import Masking
from llmkit.tasks.values import IGNORED
from llmkit.training.apart import kept_apart

if TYPE_CHECKING:
    import datasets

Array = np.ndarray[Any, np.dtype[Any]]

POOL = 50  # batches to sort by length together, as transformers does for group_by_length
WEIGHTLESS = "weightless"  # marks a micro-batch that only fills up a step


class Items(list[int]):
    """The item numbers of a micro-batch, with the `share` of the run that is done when it is drawn, from 0 to 1.

    A DataLoader passes it on to its workers as it is, and accelerate to the processes.
    """

    def __init__(self, numbers: Iterable[int], share: float) -> None:
        super().__init__(numbers)
        self.share = share


class EpochBatches(Sampler[list[int]]):
    """Micro-batches of item numbers. Item i of epoch e has the number e · count + i, which encodes the epoch.

    The order of the items, and which of them make a step, depends on `step_size` alone: not on how it is divided into
    `batch_size` × `accumulation` × `processes`. With `lengths`, items of similar length make a step, and the steps are
    shuffled. The last step of an epoch takes the rest, in micro-batches of about the same size. `apart` are keys
    [items, k]: items that share one are in different steps, see `kept_apart`.

    accelerate deals the micro-batches out to the processes in turn, and each gets as many. Where the last step has
    fewer items than micro-batches, the last item is repeated, without a weight: see `fills_up`.

    `share` tells how much of the run is done when a step begins, for data that change over the run.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        *,
        lengths: Array | None = None,
        apart: Array | None = None,
        accumulation: int = 1,
        processes: int = 1,
        share: Callable[[int], float] = lambda step: 0.0,
    ) -> None:
        # accelerate reads both. Told a size, it would fill up smaller batches with the first items of the epoch.
        self.batch_size, self.drop_last = None, False
        self.step_size = batch_size * accumulation * processes
        self.steps = -(-count // self.step_size)
        self._count, self._seed, self._lengths, self._apart = count, seed, lengths, apart
        self._accumulation, self._processes, self._share = accumulation, processes, share
        rest = self.items_in(self.steps - 1)
        self._last = -(-rest // (batch_size * processes))  # micro-batches of each process in the last step
        self.epoch = 0

    def items_in(self, step: int) -> int:
        """The number of items of a step of the run, counted from 0."""
        return min(self.step_size, self._count - step % self.steps * self.step_size)

    def fills_up(self, step: int, process: int) -> bool:
        """Whether the last micro-batch of a process in a step, counted from 0, repeats an item that has been dealt."""
        last = (self._last - 1) * self._processes + process
        return (step + 1) % self.steps == 0 and last >= self.items_in(step)

    def __len__(self) -> int:
        """Micro-batches of an epoch, of all processes."""
        return ((self.steps - 1) * self._accumulation + self._last) * self._processes

    def __iter__(self) -> Iterator[list[int]]:
        order, before = self._order(self.epoch), self.epoch * self.steps
        for step in range(self.steps):
            items = order[step * self.step_size : (step + 1) * self.step_size]
            each = self._last if step == self.steps - 1 else self._accumulation
            for batch in np.array_split(items, each * self._processes):
                yield Items(batch.tolist() or [int(items[-1])], self._share(before + step))

    def _order(self, epoch: int) -> Array:
        # Counter [0, 1, …] keeps this stream apart from those of the masks, which have a 0 there.
        random = np.random.Generator(np.random.Philox(key=self._seed, counter=[0, 1, epoch, 0]))
        order = random.permutation(self._count)
        if self._lengths is not None:
            order = self._bucketed(order, random)
        if self._apart is not None:
            order = kept_apart(order, self._apart, self.step_size)
        return order + epoch * self._count

    def items_of(self, step: int) -> list[int]:
        """The items of a step of the run, counted from 0."""
        epoch, number = divmod(step, self.steps)
        items: list[int] = self._order(epoch)[number * self.step_size : (number + 1) * self.step_size].tolist()
        return items

    def _bucketed(self, order: Array, random: np.random.Generator) -> Array:
        assert self._lengths is not None
        size = self.step_size
        pools = [order[start : start + size * POOL] for start in range(0, len(order), size * POOL)]
        pools = [pool[np.argsort(-self._lengths[pool], kind="stable")] for pool in pools]
        groups = [pool[start : start + size] for pool in pools for start in range(0, len(pool), size)]
        whole = [group for group in groups if len(group) == size]
        rest = [group for group in groups if len(group) < size]
        return np.concatenate([whole[i] for i in random.permutation(len(whole))] + rest)


def last_without_weight(batches: Iterator[Any], number: int) -> Iterator[Any]:
    """Pass on `number` micro-batches; mark the last one, whose loss must not count, and take its targets away."""
    yield from islice(batches, number - 1)
    for batch in islice(batches, 1):
        targets = {"labels": torch.full_like(batch["labels"], IGNORED)} if "labels" in batch else {}
        yield {**batch, **targets, WEIGHTLESS: True}


class MaskedBlocks(Dataset[Any]):
    """Masked blocks, by the item numbers of EpochBatches.

    `probability` is the fraction of tokens to predict, or a pair: at the beginning and at the end of the run. Items
    that don't tell the share of the run, as in a trial of how much fits into memory, get the larger one.
    """

    def __init__(
        self,
        blocks: PackedBlocks,
        vocabulary: Vocabulary,
        *,
        probability: float | tuple[float, float],
        masking: Masking,
        seed: int,
    ) -> None:
        self._blocks = blocks
        self._first, self._last = probability if isinstance(probability, tuple) else (probability, probability)
        self._masks = Masks(vocabulary, masking=masking, seed=seed)
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
        masked, positions = self._masks.mask(blocks.input_ids, epochs, numbers, self._probability(items))
        return {
            "input_ids": masked,
            "position_ids": blocks.positions,
            "cu_seq_lens": np.append(blocks.starts, masked.size).astype(np.int32),
            "masked_positions": positions,
            "labels": blocks.input_ids.reshape(-1)[positions],
        }

    def _probability(self, items: Sequence[int] | Array) -> float:
        if isinstance(items, Items):
            return self._first + (self._last - self._first) * items.share
        return max(self._first, self._last)


def collate_blocks(blocks: Mapping[str, Array], *, few_shapes: bool = False) -> Batch:
    """Blocks of MaskedBlocks as the inputs of Packed.forward, which documents their shapes.

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
    return rounded_up(count, max(STEP, (1 << count.bit_length()) // 16))


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
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[dict[str, Any]]:
        """The features of a batch, for a collator."""
        return _rows(self._features, [item % len(self) for item in items])


class FeaturesAndMore(Features):
    """The features of a task, followed by `more` of other examples, whose targets nobody gave.

    `target` makes the columns of a target for one of these, and `more_ids[n]` is the id of their example n.
    """

    def __init__(
        self,
        features: datasets.Dataset,
        ids: Sequence[str],
        more: datasets.Dataset,
        more_ids: Sequence[str],
        target: Callable[[Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        super().__init__(features, ids)
        self._more, self._more_ids, self._target = more, more_ids, target

    def name(self, item: int) -> str:
        """See Features."""
        ids = self._ids if item % len(self) < len(self._features) else self._more_ids
        return str(ids[self[item]["example"]])

    def __len__(self) -> int:
        return len(self._features) + len(self._more)

    def __getitems__(self, items: Sequence[int]) -> list[dict[str, Any]]:
        """See Features."""
        places, first = [item % len(self) for item in items], len(self._features)
        known = iter(_rows(self._features, [place for place in places if place < first]))
        others = iter(_rows(self._more, [place - first for place in places if place >= first]))
        return [next(known) if place < first else self._with_target(next(others)) for place in places]

    def _with_target(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, **self._target(row)}


def _rows(features: datasets.Dataset, numbers: list[int]) -> list[dict[str, Any]]:
    columns = features[numbers]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
