"""What a model can read: how many tokens, and which of a tokenizer's outputs. The model says so without its weights."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerFast


def skeleton(config: Any) -> PreTrainedModel:
    """The encoder that a configuration describes, on the meta device: modules without weights."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModel.from_config(config)
    return model


def positions_of(model: PreTrainedModel) -> int | None:
    """The longest input that the model reads, in tokens; None if there is no limit.

    `max_position_embeddings` is the size of a table, and RoBERTa and its relatives count positions from behind the
    padding token: of 514 rows they use 512. Relative positions (DeBERTa, Funnel) have no limit. Rotary ones have none
    either, but their models are of little use beyond the length that they name.
    """
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    rotary = any(name.endswith("inv_freq") for name, _ in model.named_buffers())
    if limit is None or not (rotary or _tables(model)):
        return None
    return limit - skipped_positions(model)


def skipped_positions(model: PreTrainedModel) -> int:
    """The rows of the table of positions that no token uses: the position of a text's first token."""
    limit = getattr(model.config, "max_position_embeddings", None)
    skipped = [table.padding_idx for table in _tables(model) if table.num_embeddings == limit]
    return max((padding + 1 for padding in skipped if padding is not None), default=0)


def _tables(model: PreTrainedModel) -> list[nn.Embedding]:
    """Embeddings of positions."""
    return [module for name, module in model.named_modules() if isinstance(module, nn.Embedding) and "position" in name]


def fit_inputs(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    """Let a tokenizer give what the model reads and no more, also when it is saved and loaded."""
    # transformers saves a setting only if it was given at the start.
    tokenizer.init_kwargs["model_input_names"] = inputs_of(model, tokenizer.model_input_names)
    tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"]


def inputs_of(model: PreTrainedModel, names: Sequence[str]) -> list[str]:
    """Those of a tokenizer's outputs that the model reads.

    DistilBERT has no segments, but its tokenizer is BERT's. RoBERTa has an embedding for one segment, and DeBERTa for
    none: both would fail on, or ignore, the 1 of a second text.
    """
    known = set(inspect.signature(model.forward).parameters)
    if getattr(model.config, "type_vocab_size", 2) < 2:
        known.discard("token_type_ids")
    return [name for name in names if name in known]
