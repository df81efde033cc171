"""The evaluation of pretraining: masked-LM loss and perplexity on held-out blocks, of one corpus or several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch

from llmkit.models.collator import to_device
from llmkit.models.eval_batches import MAX_ROWS, rows_at_a_time
from llmkit.system.out_of_memory import evaluating
from llmkit.system.processes import from_first, sharded
from llmkit.training.batches import MaskedBlocks, collate_blocks
from llmkit.training.evaluation import Scored, seconds_of

# About 20,000 of these tokens are masked, which gives the mean loss to about 0.02: less than it falls between
# evaluations.
TOKENS = 2**17
# Of each further corpus: its loss decides nothing, and what it changes by is known better than the loss itself, since
# blocks and masks stay the same.
OTHER_TOKENS = 2**15
TIMED_BLOCKS = 64
# The seed of the masks, whatever that of training: so the losses of runs with different seeds compare.
MASK_SEED = 1

Numbers = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class HeldOut:
    """`loss` (nats per masked token) and `perplexity`, over all masked tokens of blocks whose masks never change.

    At most `most` blocks are used, evenly spaced; by default as many as hold TOKENS tokens. `others` are further
    corpora, of which no more than OTHER_TOKENS tokens are used: their scores are `NAME_loss` and `NAME_perplexity`.
    """

    blocks: MaskedBlocks
    most: int | None = None
    others: Mapping[str, MaskedBlocks] = field(default_factory=dict)

    metric: ClassVar[str] = "loss"
    higher_is_better: ClassVar[bool] = False
    max_rows: ClassVar[int] = MAX_ROWS

    @property
    def headline(self) -> tuple[str, ...]:
        """The names of all scores."""
        return tuple(f"{name}{score}" for name in ("", *map(_prefix, self.others)) for score in ("loss", "perplexity"))

    def __call__(self, model: Any, batch_size: int | None, *, bf16: bool) -> Scored:
        """Score a model."""
        scores: dict[str, float] = {}
        for prefix, blocks, numbers in self._corpora():
            loss = _loss(model, blocks, numbers, batch_size, bf16=bf16)
            scores |= {f"{prefix}loss": loss, f"{prefix}perplexity": math.exp(min(loss, 700.0))}
        return Scored(scores)

    def seconds(self, model: Any, batch_size: int | None, *, bf16: bool) -> float:
        """Estimate how long a call takes, from TIMED_BLOCKS blocks."""
        part = replace(self, most=TIMED_BLOCKS, others={})
        count, timed = (sum(len(numbers) for *_, numbers in one._corpora()) for one in (self, part))
        return seconds_of(lambda: part(model, batch_size, bf16=bf16)) * count / timed

    def _corpora(self) -> Iterator[tuple[str, MaskedBlocks, Numbers]]:
        """For each corpus, its own first: the prefix of its scores, its blocks, and the numbers of those to use."""
        size = self.blocks.block_size
        most = self.most or max(1, TOKENS // size)
        yield "", self.blocks, _spaced(len(self.blocks), most)
        for name, blocks in self.others.items():
            yield _prefix(name), blocks, _spaced(len(blocks), min(most, max(1, OTHER_TOKENS // size)))


def _prefix(name: str) -> str:
    """The beginning of the names of a further corpus's scores."""
    return f"{name}_"


def _spaced(blocks: int, most: int) -> Numbers:
    """The numbers of at most `most` of so many blocks, evenly spaced."""
    return np.unique(np.linspace(0, blocks - 1, min(blocks, most)).round().astype(int))


def _loss(model: Any, blocks: MaskedBlocks, numbers: Numbers, batch_size: int | None, *, bf16: bool) -> float:
    """The mean loss over the masked tokens of these blocks, the same on all processes, which share the work."""
    device = model.device
    size = batch_size or rows_at_a_time(blocks.block_size, device)
    batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    model.eval()

    def work(numbers: Numbers) -> tuple[torch.Tensor, int]:
        batch = collate_blocks(blocks.__getitems__(numbers))
        with (
            evaluating(*batch["input_ids"].shape, most=size),
            torch.no_grad(),  # not inference_mode: training uses what a sharded model gathers here
            torch.autocast(device.type, torch.bfloat16, enabled=bf16),
        ):
            out = model(**to_device(batch, device), num_items_in_batch=1)
        return out.loss, len(batch["labels"])

    results = sharded(batches, work, lambda result: (float(result[0]), result[1]))
    loss: float | None = None
    if results is not None:
        loss = math.fsum(total for total, _ in results) / sum(targets for _, targets in results)
    return from_first(loss)
