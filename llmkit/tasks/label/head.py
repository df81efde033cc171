"""The head for classification, with one logit per label, and for regression, with one number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from llmkit.models.collator import Batch
from llmkit.tasks.distillation import UNKNOWN, Logits, of_classes, of_numbers
from llmkit.tasks.head import Head, Rows, mean_per_target
from llmkit.tasks.values import Codec


def _targets(rows: Rows, length: int, codec: Codec) -> Batch:
    return {"labels": torch.tensor([row["label"] for row in rows])}


def _outputs(model: PreTrainedModel, batch: Batch) -> Batch:
    return {"logits": model(**batch)["logits"]}


def _loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None, **_: Any) -> Tensor:
    """Cross-entropy for labels, squared error for numbers."""
    logits = outputs["logits"].float()
    if labels.is_floating_point():
        return mean_per_target(mse_loss(logits.squeeze(-1), labels, reduction="sum"), labels, num_items_in_batch)
    return mean_per_target(cross_entropy(logits, labels, reduction="sum"), labels, num_items_in_batch)


def _divergence(outputs: Logits, taught: Logits, attention_mask: Tensor, temperature: float) -> Tensor:
    """Of a distribution over labels, or of a number."""
    of = of_numbers if taught["logits"].shape[-1] == 1 else of_classes
    return of(outputs, taught, attention_mask, temperature)


def _unknown(feature: Mapping[str, Any], codec: Codec) -> dict[str, Any]:
    return {"label": UNKNOWN if len(codec.labels) > 1 else math.nan}


HEAD = Head(
    noun="classification",
    auto=AutoModelForSequenceClassification,
    targets=_targets,
    outputs=_outputs,
    loss=_loss,
    pooler=True,
    divergence=_divergence,
    unknown=_unknown,
)
