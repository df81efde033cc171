"""A model over features: outputs in their order, on any number of processes, and the scores they make.

Fine-tuning, `eval` and `ask` all go through here, so a score is the same number wherever it appears.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel

from llmkit.batching import Collator
from llmkit.console import Progress, count, duration
from llmkit.finetune_recipe import DataSection, Head
from llmkit.heads import HEADS
from llmkit.out_of_memory import evaluating
from llmkit.processes import from_first, sharded, world_size
from llmkit.tasks.base import Codec, Outputs, Prediction, Task

if TYPE_CHECKING:
    from datasets import Dataset


def outputs_of(
    model: PreTrainedModel, head: Head, features: Dataset, codec: Codec, batch_size: int, *, bf16: bool
) -> list[Outputs] | None:
    """What a model's head says of every feature; None except on the first process.

    Features go through the model in order of length, so that next to nothing is padded.
    """
    lengths = np.asarray(features["length"])
    order = np.argsort(-lengths, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    collate = Collator(codec)
    inputs = features.select_columns(
        [n for n in ("input_ids", "token_type_ids", "length") if n in features.column_names]
    )
    device = model.device
    model.eval()
    began, done, tokens = time.monotonic(), 0, 0
    share = lengths.sum() / world_size()  # tokens of this process

    with Progress("evaluating") as progress:

        def work(numbers: np.ndarray[Any, np.dtype[Any]]) -> list[Outputs]:
            nonlocal done, tokens
            rows = inputs[numbers]
            columns = list(rows)
            batch = collate([dict(zip(columns, row, strict=True)) for row in zip(*rows.values(), strict=True)])
            with (
                evaluating(*batch["input_ids"].shape),
                torch.inference_mode(),
                torch.autocast(device.type, torch.bfloat16, enabled=bf16),
            ):
                found = HEADS[head].outputs(
                    model, {name: tensor.to(device) for name, tensor in batch.items()}, lengths[numbers].tolist()
                )
            done, tokens = done + len(numbers), tokens + int(lengths[numbers].sum())
            seconds = time.monotonic() - began
            left = max(0.0, (share - tokens) * seconds / tokens)  # by tokens: the long windows come first
            progress({"": f"{done:,} of {len(order):,}", "tokens/s": count(tokens / seconds), "left": duration(left)})
            return found

        results = sharded(batches, work)
    if results is None:
        return None
    outputs: list[Outputs] = [{}] * len(order)
    for numbers, batch_outputs in zip(batches, results, strict=True):
        for number, output in zip(numbers, batch_outputs, strict=True):
            outputs[number] = output
    return outputs


class TaskEvaluation:
    """A task's examples of one split, ready to score models on.

    After a call, `scores` is on every process and `predictions` on the first.
    """

    def __init__(
        self,
        task: Task[Any],
        examples: Dataset,
        features: Dataset,
        codec: Codec,
        data: DataSection,
        *,
        batch_size: int,
        bf16: bool,
    ) -> None:
        self._task, self._examples, self._features = task, examples, features
        self._codec, self._data, self._batch_size, self._bf16 = codec, data, batch_size, bf16
        self.predictions: Sequence[Prediction] = ()
        self.scores: dict[str, Any] = {}

    def outputs(self, model: PreTrainedModel) -> list[Outputs] | None:
        """What the model says of every feature; None except on the first process."""
        return outputs_of(model, self._task.head, self._features, self._codec, self._batch_size, bf16=self._bf16)

    def __call__(self, model: PreTrainedModel, threshold: float | None = None) -> dict[str, Any]:
        """The task's scores of a model, in percent."""
        outputs = self.outputs(model)
        scores = None
        if outputs is not None:
            self.predictions = self._task.decode(
                outputs, self._features, self._examples, self._codec, self._data, threshold=threshold
            )
            scores = self._task.score(self.predictions, self._examples, self._data)
        self.scores = from_first(scores)
        return self.scores
