"""Attention for training on CPUs that compute in bf16.

The backward pass of torch's attention takes half of a training step there: it makes a small product for each head of
each row, and each costs more to set up than to compute. Here all heads are one product. The backward pass then needs a
number for each pair of tokens, which is little where rows are short.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

PRODUCTS = "llmkit_products"
LONGEST = 192  # tokens of a row: with longer ones torch makes larger products, and is as fast (2.13, with AMX)


def train_by_products(model: PreTrainedModel, *, bf16: bool) -> None:
    """Let a model train with this attention, if it computes on a CPU in bf16 and would use torch's."""
    config = model.config
    if bf16 and not torch.cuda.is_available() and config._attn_implementation == "sdpa":
        config._attn_implementation = PRODUCTS


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query, key and value [B, H, L, D] → [B, L, H, D]."""
    if _by_torch(module, query, key, value, attention_mask, dropout, others):
        others |= {"scaling": scaling, "dropout": dropout}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **others)
    # Autocast would compute the softmax between the products in float32, in three passes more.
    with torch.autocast("cpu", enabled=False):
        # Rotary positions are computed in float32.
        query, key = query.to(value.dtype), key.to(value.dtype)
        found = _products(query, key, value, attention_mask, scaling or query.shape[-1] ** -0.5)
    return found.transpose(1, 2), None


def _products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    scores = (query * scale) @ key.mT
    if mask is not None:
        # Not -inf: a row of padding may see no token at all.
        least = torch.finfo(scores.dtype).min
        scores = scores.masked_fill_(~mask, least) if mask.dtype == torch.bool else scores.add_(mask.clamp(least))
    return scores.softmax(-1) @ value


def _by_torch(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float,
    others: dict[str, Any],
) -> bool:
    """Whether torch's attention is to compute this pass."""
    trains = torch.is_grad_enabled() and value.requires_grad and value.dtype == torch.bfloat16
    causal = others.get("is_causal")
    causal = mask is None and (getattr(module, "is_causal", True) if causal is None else causal)
    plain = query.shape == key.shape == value.shape and not dropout and not causal
    more = any(others.get(name) is not None for name in ("position_bias", "softcap", "cache"))
    return not trains or not plain or more or query.shape[2] > LONGEST


ALL_ATTENTION_FUNCTIONS.register(PRODUCTS, _attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(PRODUCTS, sdpa_mask)
