"""The head for tagging: for every token, one logit per tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from transformers import AutoModelForTokenClassification, PreTrainedModel

from llmkit.models.collator import Batch, padded
from llmkit.tasks.distillation import UNKNOWN, of_classes
from llmkit.tasks.head import Head, Rows, token_loss
from llmkit.tasks.values import IGNORED, Codec


def _targets(rows: Rows, length: int, codec: Codec) -> Batch:
    return {"labels": padded([row["tag_labels"] for row in rows], length, IGNORED)}


def _outputs(model: PreTrainedModel, batch: Batch) -> Batch:
    return {"logits": model(**batch)["logits"]}


def _unknown(feature: Mapping[str, Any], codec: Codec) -> dict[str, Any]:
    labels = np.full(feature["length"], IGNORED)
    labels[feature["first"]] = UNKNOWN
    return {"tag_labels": labels}


HEAD = Head(
    noun="tagging",
    auto=AutoModelForTokenClassification,
    targets=_targets,
    outputs=_outputs,
    per_token=True,
    loss=token_loss(),
    divergence=of_classes,
    unknown=_unknown,
)
