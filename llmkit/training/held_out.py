"""The evaluation of pretraining: masked-LM loss and perplexity on held-out blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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
TIMED_BLOCKS = 64


@dataclass(frozen=True)
class HeldOut:
    """`loss` (nats per masked token) and `perplexity`, over all masked tokens of blocks whose masks never change.

    At most `most` blocks are used, evenly spaced; by default as many as hold TOKENS tokens.
    """

    blocks: MaskedBlocks
    most: int | None = None

    metric: ClassVar[str] = "loss"
    higher_is_better: ClassVar[bool] = False
    max_rows: ClassVar[int] = MAX_ROWS
    headline: ClassVar[tuple[str, ...]] = ("loss", "perplexity")

    def __call__(self, model: Any, batch_size: int | None, *, bf16: bool) -> Scored:
        """Score a model."""
        numbers = self._numbers()
        device = model.device
        size = batch_size or rows_at_a_time(self.blocks.block_size, device)
        batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        model.eval()

        def work(numbers: np.ndarray[Any, np.dtype[Any]]) -> tuple[torch.Tensor, int]:
            batch = collate_blocks(self.blocks.__getitems__(numbers))
            with (
                evaluating(*batch["input_ids"].shape, most=size),
                torch.no_grad(),  # not inference_mode: training uses what a sharded model gathers here
                torch.autocast(device.type, torch.bfloat16, enabled=bf16),
            ):
                out = model(**to_device(batch, device), num_items_in_batch=1)
            return out.loss, len(batch["labels"])

        results = sharded(batches, work, lambda result: (float(result[0]), result[1]))
        scores = None
        if results is not None:
            loss = math.fsum(total for total, _ in results) / sum(targets for _, targets in results)
            scores = {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
        return Scored(from_first(scores))

    def seconds(self, model: Any, batch_size: int | None, *, bf16: bool) -> float:
        """Estimate how long a call takes, from TIMED_BLOCKS blocks."""
        part = replace(self, most=TIMED_BLOCKS)
        share = len(self._numbers()) / len(part._numbers())
        return seconds_of(lambda: part(model, batch_size, bf16=bf16)) * share

    def _numbers(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The numbers of the blocks to use."""
        most = self.most or max(1, TOKENS // self.blocks.block_size)
        count = min(len(self.blocks), most)
        return np.unique(np.linspace(0, len(self.blocks) - 1, count).round().astype(int))
