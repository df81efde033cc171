"""The head for tagging: for every token, one logit per tag."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import AutoModelForTokenClassification, BertForTokenClassification, PreTrainedModel

from llmkit.models.collator import Batch, padded
from llmkit.tasks.head import Head, Rows, token_loss
from llmkit.tasks.values import IGNORED, Codec, Outputs


def _targets(rows: Rows, length: int, codec: Codec) -> Batch:
    return {"labels": padded([row["tag_labels"] for row in rows], length, IGNORED)}


def _outputs(model: PreTrainedModel, batch: Batch, lengths: Sequence[int]) -> list[Outputs]:
    logits = model(**batch)["logits"].float().cpu().numpy()
    return [{"logits": logits[i, :length].copy()} for i, length in enumerate(lengths)]


HEAD = Head(
    noun="tagging",
    auto=AutoModelForTokenClassification,
    fresh=BertForTokenClassification,
    targets=_targets,
    outputs=_outputs,
    loss=token_loss(),
)
