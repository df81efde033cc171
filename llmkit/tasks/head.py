"""Model heads: the model class, the training targets of a batch, the loss, and the outputs kept per feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from llmkit.models.collator import Batch, Collator
from llmkit.tasks.values import IGNORED, Codec, Outputs

# (outputs, labels, num_items_in_batch) → loss. num_items_in_batch counts the targets of all micro-batches and
# processes of the step.
Loss = Callable[..., Tensor]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Head:
    """A model head.

    noun      its name in messages: `tagging`
    auto      the AutoModelFor… class that loads a checkpoint
    fresh     builds a model with random weights from a BertConfig
    targets   (features, padded length, codec) → the tensors that a training batch has besides the inputs
    outputs   (model, batch, lengths) → outputs to keep per feature, cut to its length, in float32
    loss      None if the model's forward pass computes the loss
    pooler    whether the head uses the encoder's pooler
    """

    noun: str
    auto: Any
    fresh: Callable[[Any], PreTrainedModel]
    targets: Callable[[Rows, int, Codec], Batch]
    outputs: Callable[[PreTrainedModel, Batch, Sequence[int]], list[Outputs]]
    loss: Loss | None = None
    pooler: bool = False


def mean_per_target(total: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    """A summed loss, divided by the number of targets in the whole step."""
    return total / (num_items_in_batch if num_items_in_batch is not None else labels.ne(IGNORED).sum())


def token_loss(smoothing: float = 0.0) -> Loss:
    """Cross-entropy over the positions that have a target; `smoothing` is the label smoothing."""

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits = outputs["logits"].float().flatten(0, 1)
        total = cross_entropy(
            logits, labels.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
        )
        return mean_per_target(total, labels, num_items_in_batch)

    return loss


def training_collator(head: Head, codec: Codec) -> Collator:
    """A collator that pads features and adds targets. It can be pickled, for spawned data loader workers."""
    return Collator(codec.tokenizer, partial(_targets, head.targets, codec))


def _targets(targets: Callable[[Rows, int, Codec], Batch], codec: Codec, rows: Rows, length: int) -> Batch:
    return targets(rows, length, codec)
