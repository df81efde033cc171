"""The head for extractive question answering: start and end logits for each token of a window."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import AutoModelForQuestionAnswering, BertForQuestionAnswering, PreTrainedModel

from llmkit.models.collator import Batch
from llmkit.tasks.head import Head, Rows
from llmkit.tasks.values import Codec, Outputs


def _targets(rows: Rows, length: int, codec: Codec) -> Batch:
    names = ("start_positions", "end_positions")
    return {name: torch.tensor([row[name] for row in rows]) for name in names}


def _outputs(model: PreTrainedModel, batch: Batch, lengths: Sequence[int]) -> list[Outputs]:
    out = model(**batch)
    arrays = {name: out[name].float().cpu().numpy() for name in ("start_logits", "end_logits")}
    return [{name: array[i, :length].copy() for name, array in arrays.items()} for i, length in enumerate(lengths)]


HEAD = Head(
    noun="question-answering",
    auto=AutoModelForQuestionAnswering,
    fresh=BertForQuestionAnswering,
    targets=_targets,
    outputs=_outputs,
)
