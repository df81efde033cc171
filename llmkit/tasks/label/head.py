"""The head for classification, with one logit per label, and for regression, with one number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from llmkit.models.collator import Batch
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


HEAD = Head(
    noun="classification",
    auto=AutoModelForSequenceClassification,
    targets=_targets,
    outputs=_outputs,
    loss=_loss,
    pooler=True,
)
