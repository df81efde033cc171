"""The head for extractive question answering: start and end logits for each token of a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from llmkit.models.collator import Batch
from llmkit.tasks.distillation import UNKNOWN, of_spans
from llmkit.tasks.head import Head, Rows, mean_per_target
from llmkit.tasks.values import Codec


def _targets(rows: Rows, length: int, codec: Codec) -> Batch:
    """Of each window, where its answer starts and where it ends: [B, 2]."""
    return {"labels": torch.tensor([[row["start_positions"], row["end_positions"]] for row in rows])}


def _outputs(model: PreTrainedModel, batch: Batch) -> Batch:
    out = model(**batch)
    return {name: out[name] for name in ("start_logits", "end_logits")}


def _loss(
    outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None, *, attention_mask: Tensor
) -> Tensor:
    """Cross-entropy of start and end over the tokens of a window, whatever its padding."""
    padding = attention_mask == 0
    logits = (outputs[name].float().masked_fill(padding, -torch.inf) for name in ("start_logits", "end_logits"))
    starts, ends = (
        cross_entropy(each, target, reduction="sum") for each, target in zip(logits, labels.unbind(1), strict=True)
    )
    return mean_per_target(starts + ends, labels, num_items_in_batch)


def _unknown(feature: Mapping[str, Any], codec: Codec) -> dict[str, Any]:
    return {"start_positions": UNKNOWN, "end_positions": UNKNOWN}


HEAD = Head(
    noun="question-answering",
    auto=AutoModelForQuestionAnswering,
    targets=_targets,
    outputs=_outputs,
    per_token=True,
    loss=_loss,
    divergence=of_spans,
    unknown=_unknown,
)
