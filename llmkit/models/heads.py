"""What the heads of models differ in: the class, the loss over a batch, and what is kept of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    EncoderDecoderModel,
    PreTrainedModel,
)

from llmkit.recipes.finetuning import Head
from llmkit.tasks.base import IGNORED, Outputs

Batch = Mapping[str, Tensor]
# (outputs, labels, num_items_in_batch, the targets of all micro-batches and processes) → the loss to step on.
Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class ModelHead:
    """A kind of model. `fresh` is the class of one with random weights, `auto` finds that of a checkpoint.

    `outputs(model, batch, lengths)` are those of each row, cut to its length, in float32. Without `loss` the model
    computes its own.
    """

    noun: str
    auto: Any
    fresh: type[PreTrainedModel]
    outputs: Callable[[PreTrainedModel, Batch, Sequence[int]], list[Outputs]]
    loss: Loss | None = None


def _spans(model: PreTrainedModel, batch: Batch, lengths: Sequence[int]) -> list[Outputs]:
    out = model(**batch)
    arrays = {name: out[name].float().cpu().numpy() for name in ("start_logits", "end_logits")}
    return [{name: array[i, :length].copy() for name, array in arrays.items()} for i, length in enumerate(lengths)]


def _labels(model: PreTrainedModel, batch: Batch, lengths: Sequence[int]) -> list[Outputs]:
    return [{"logits": row} for row in model(**batch)["logits"].float().cpu().numpy()]


def _tags(model: PreTrainedModel, batch: Batch, lengths: Sequence[int]) -> list[Outputs]:
    logits = model(**batch)["logits"].float().cpu().numpy()
    return [{"logits": logits[i, :length].copy()} for i, length in enumerate(lengths)]


def _texts(model: PreTrainedModel, batch: Batch, lengths: Sequence[int]) -> list[Outputs]:
    """What is written, as token ids, and the mean log-probability of its tokens."""
    writer: Any = model
    out = writer.generate(**batch, return_dict_in_generate=True, output_scores=True)
    if "sequences_scores" in out:
        scores = out.sequences_scores
    else:
        logs = writer.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        written = torch.isfinite(logs)
        scores = torch.where(written, logs, 0.0).sum(dim=1) / written.sum(dim=1)
    ids = out.sequences.cpu().numpy()
    return [{"ids": row, "score": score} for row, score in zip(ids, scores.float().cpu().numpy(), strict=True)]


def _divided(total: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    return total / (num_items_in_batch if num_items_in_batch is not None else labels.ne(IGNORED).sum())


def _loss_of_labels(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Cross-entropy over labels; the squared error where labels are numbers."""
    logits = outputs["logits"].float()
    if labels.is_floating_point():
        return _divided(mse_loss(logits.squeeze(-1), labels, reduction="sum"), labels, num_items_in_batch)
    return _divided(cross_entropy(logits, labels, reduction="sum"), labels, num_items_in_batch)


def loss_of_tokens(smoothing: float = 0.0) -> Loss:
    """Cross-entropy over the tokens that have a target."""

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits = outputs["logits"].float().flatten(0, 1)
        total = cross_entropy(
            logits, labels.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
        )
        return _divided(total, labels, num_items_in_batch)

    return loss


HEADS: dict[Head, ModelHead] = {
    "span": ModelHead("question-answering", AutoModelForQuestionAnswering, BertForQuestionAnswering, _spans),
    "label": ModelHead(
        "classification", AutoModelForSequenceClassification, BertForSequenceClassification, _labels, _loss_of_labels
    ),
    "tags": ModelHead("tagging", AutoModelForTokenClassification, BertForTokenClassification, _tags, loss_of_tokens()),
    "text": ModelHead("text-writing", AutoModelForSeq2SeqLM, EncoderDecoderModel, _texts, loss_of_tokens()),
}
