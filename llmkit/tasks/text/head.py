"""The head for text generation: an encoder-decoder, with beam search."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from llmkit.models.collator import Batch, padded
from llmkit.tasks.distillation import of_classes
from llmkit.tasks.head import Head, Rows, token_loss
from llmkit.tasks.values import IGNORED, Codec


def _targets(rows: Rows, length: int, codec: Codec) -> Batch:
    """The decoder's labels, and its inputs: the labels shifted right by one token."""
    targets = [row["target_ids"] for row in rows]
    longest = max(map(len, targets))
    start, pad = codec.decoder_start, codec.target_tokenizer.pad_token_id
    assert start is not None
    assert pad is not None
    return {
        "labels": padded(targets, longest, IGNORED),
        "decoder_input_ids": padded([[start, *target[:-1]] for target in targets], longest, pad),
    }


def _outputs(model: PreTrainedModel, batch: Batch) -> Batch:
    """`ids`, the generated token ids, and `score`, their mean log-probability."""
    generator: Any = model
    # All processes take part in each pass of a sharded model, until the last of them has its texts.
    sharded = isinstance(model, FSDPModule)
    out = generator.generate(**batch, return_dict_in_generate=True, output_scores=True, synced_gpus=sharded)
    if "sequences_scores" in out:
        scores = out.sequences_scores
    else:
        logs = generator.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        generated = torch.isfinite(logs)
        scores = torch.where(generated, logs, 0.0).sum(dim=1) / generated.sum(dim=1)
    return {"ids": out.sequences, "score": scores}


HEAD = Head(
    noun="text-generation",
    auto=AutoModelForSeq2SeqLM,
    targets=_targets,
    outputs=_outputs,
    loss=token_loss(),
    divergence=of_classes,
    max_rows=32,  # each is several texts in a beam search
)
