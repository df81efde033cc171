"""One vector for a text: its tokens' states, pooled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedModel

from llmkit.models.collator import Batch
from llmkit.models.sentence_settings import Dense, Pooling, SentenceSettings


def pooled(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Hidden states [B, L, H] of the tokens where `mask` [B, L] is 1, as one vector per text, [B, H], in float32."""
    if pooling == "cls":
        return states[:, 0].float()
    inside = mask[:, :, None].bool()
    states = states.float()
    if pooling == "max":
        return states.masked_fill(~inside, -torch.inf).amax(dim=1)
    # Rows of padding alone only fill up a batch.
    return states.masked_fill(~inside, 0.0).sum(dim=1) / inside.sum(dim=1).clamp(min=1)


def modules_of(settings: SentenceSettings) -> Any:
    """What follows the pooling: a function from vectors [B, H] to vectors [B, D]."""
    layers = [_layer(dense) for dense in settings.dense]

    def apply(vectors: Tensor) -> Tensor:
        for weight, bias, activation in layers:
            vectors = torch.nn.functional.linear(vectors, weight.to(vectors.device), bias.to(vectors.device))
            vectors = vectors.tanh() if activation == "tanh" else vectors
        return normalize(vectors, dim=-1) if settings.normalize else vectors

    return apply


def _layer(dense: Dense) -> tuple[Tensor, Tensor, str]:
    from safetensors.torch import load_file

    tensors = load_file(str(dense.weights))
    weight = tensors["linear.weight"].float()
    return weight, tensors.get("linear.bias", weight.new_zeros(len(weight))).float(), dense.activation


def states_of(model: PreTrainedModel, batch: Batch) -> Tensor:
    """The last hidden states of a batch, [B, L, H]."""
    states: Tensor = model(**batch)["last_hidden_state"]
    return states
