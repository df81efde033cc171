"""The head for several labels: one logit per label, each a question of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from llmkit.models.collator import Batch
from llmkit.tasks.distillation import of_labels
from llmkit.tasks.head import Rows, mean_per_target
from llmkit.tasks.label.head import HEAD as ONE_LABEL
from llmkit.tasks.values import Codec


def _targets(rows: Rows, length: int, codec: Codec) -> Batch:
    labels = torch.zeros(len(rows), len(codec.labels))
    for row, target in zip(rows, labels, strict=True):
        if row["label"] is None:
            target.fill_(torch.nan)
        else:
            target[torch.tensor(row["label"], dtype=torch.long)] = 1.0
    return {"labels": labels}


def _loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None, **_: Any) -> Tensor:
    """Binary cross-entropy, the mean over examples and labels."""
    total = binary_cross_entropy_with_logits(outputs["logits"].float(), labels, reduction="sum")
    return mean_per_target(total, labels, num_items_in_batch)


def _unknown(feature: Mapping[str, Any], codec: Codec) -> dict[str, Any]:
    return {"label": None}


HEAD = replace(ONE_LABEL, targets=_targets, loss=_loss, divergence=of_labels, unknown=_unknown)
