"""Model heads: the model class, the training targets of a batch, the loss, and the outputs kept per feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from llmkit.models.collator import Batch, Collator, collator_for, padded
from llmkit.models.eval_batches import MAX_ROWS
from llmkit.tasks.distillation import TYPES, Divergence
from llmkit.tasks.values import IGNORED, Codec

# (outputs, labels, num_items_in_batch, attention_mask) → loss. num_items_in_batch counts the targets of all
# micro-batches and processes of the step: the loss is a sum over targets, divided by it. Passed by name.
Loss = Callable[..., Tensor]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Head:
    """A model head.

    noun      its name in messages: `tagging`
    auto      the AutoModelFor… class, which loads a checkpoint or makes a model of random weights
    targets   (features, padded length, codec) → the tensors that a training batch has besides the inputs
    outputs   (model, batch) → tensors [B, …] of what to keep per feature, on the model's device
    loss      of a micro-batch
    per_token whether outputs are [B, L, …], of which the length of the feature is kept
    pooler    whether the head uses the encoder's pooler
    max_rows  most rows to compute outputs of at a time, if nothing else is said
    divergence from a teacher, for each target; None if the head learns from no teacher
    unknown   (feature, codec) → the columns that `targets` reads, where only a teacher can tell the targets; None if
              they must be known
    rows      features of a training batch → the rows that the model reads, if a feature has several: texts to compare
    """

    noun: str
    auto: Any
    targets: Callable[[Rows, int, Codec], Batch]
    outputs: Callable[[PreTrainedModel, Batch], Batch]
    loss: Loss
    per_token: bool = False
    pooler: bool = False
    max_rows: int = MAX_ROWS
    divergence: Divergence | None = None
    unknown: Callable[[Mapping[str, Any], Codec], dict[str, Any]] | None = None
    rows: Callable[[Rows], Rows] | None = None


def mean_per_target(total: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    """A summed loss, divided by the number of targets in the whole step."""
    return total / (num_items_in_batch if num_items_in_batch is not None else labels.ne(IGNORED).sum())


def token_loss(smoothing: float = 0.0) -> Loss:
    """Cross-entropy over the positions that have a target; `smoothing` is the label smoothing."""

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None, **_: Any) -> Tensor:
        logits = outputs["logits"].float().flatten(0, 1)
        total = cross_entropy(
            logits, labels.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
        )
        return mean_per_target(total, labels, num_items_in_batch)

    return loss


class WeightedLoss:
    """Cross-entropy in which a target counts by the weight of its class, [classes].

    It is divided by the weights of all targets of the step, of which `num_items_in_batch` is then the sum: torch's
    weighted mean, whatever the micro-batches.
    """

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def __call__(
        self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None, **_: Any
    ) -> Tensor:
        logits = outputs["logits"].float().flatten(0, -2)
        weights = self._on(labels)
        total = cross_entropy(logits, labels.flatten(), weight=weights, ignore_index=IGNORED, reduction="sum")
        return total / (num_items_in_batch if num_items_in_batch is not None else self.weight_of([labels]))

    def weight_of(self, targets: Sequence[Tensor]) -> Tensor:
        """The sum of the targets' weights. Nothing waits for the device."""
        sums = [(self._on(labels)[labels.clamp(min=0)] * labels.ne(IGNORED)).sum() for labels in targets]
        return torch.stack(sums).sum()

    def _on(self, labels: Tensor) -> Tensor:
        """The weights on the device of the labels, where they stay."""
        if self.weights.device != labels.device:
            self.weights = self.weights.to(labels.device)
        return self.weights


def training_collator(
    head: Head, codec: Codec, model: PreTrainedModel, *, buckets: bool = False, types: bool = False
) -> Callable[[Rows], Batch]:
    """A collator that pads features and adds targets. It can be pickled, for spawned data loader workers.

    With `types`, a teacher reads the segments of tokens: a batch has them for it if the model reads none itself.
    """
    if head.rows is not None:
        return partial(_several, head.rows, head.targets, codec, collator_for(model, codec.tokenizer, buckets=buckets))
    types = types and "token_type_ids" not in codec.tokenizer.model_input_names
    return collator_for(model, codec.tokenizer, partial(_targets, head.targets, codec, types), buckets=buckets)


def _targets(targets: Callable[[Rows, int, Codec], Batch], codec: Codec, types: bool, rows: Rows, length: int) -> Batch:
    batch = targets(rows, length, codec)
    if types and "token_type_ids" in rows[0]:
        batch[TYPES] = padded([row["token_type_ids"] for row in rows], length, 0)
    return batch


def _several(
    rows_of: Callable[[Rows], Rows],
    targets: Callable[[Rows, int, Codec], Batch],
    codec: Codec,
    collate: Collator,
    rows: Rows,
) -> Batch:
    """Collate features of several rows of the model each."""
    batch = collate(rows_of(rows))
    return batch | targets(rows, batch["input_ids"].shape[1], codec)
