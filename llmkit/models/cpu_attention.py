"""Attention for training on CPUs that compute in bf16.

The backward pass of torch's attention takes half of a training step there: it makes a small product for each head of
each row, and each costs more to set up than to compute. Here it is a few products over all heads. The forward pass,
which is fast, stays torch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

PRODUCTS = "llmkit_products"
LONGEST = (
    192  # tokens of a row: for longer ones torch makes larger products, and is as fast (torch 2.13, Xeon with AMX)
)


def train_by_products(model: PreTrainedModel, *, bf16: bool) -> None:
    """Let a model train with this attention, if it computes on a CPU in bf16 and would use torch's."""
    config = model.config
    if bf16 and not torch.cuda.is_available() and config._attn_implementation == "sdpa":
        config._attn_implementation = PRODUCTS


class _Products(torch.autograd.Function):
    """Attention of torch, whose gradient comes from products over all heads: the scores are computed again."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        found = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        ctx.save_for_backward(query, key, value, mask, found)
        ctx.scale = scale
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, found = ctx.saved_tensors
        (gradient,) = gradients
        scaled = query * ctx.scale
        scores = scaled @ key.mT
        if mask is not None:
            # Not -inf: a row of padding may see no token at all.
            least = torch.finfo(scores.dtype).min
            scores = scores.masked_fill_(~mask, least) if mask.dtype == torch.bool else scores.add_(mask.clamp(least))
        weights = scores.softmax(-1)
        # The derivative of the softmax: what a weight changes, less what the weights of its row change on average.
        average = (gradient * found).sum(-1, keepdim=True, dtype=torch.float32)
        of_scores = (gradient @ value.mT).sub_(average).mul_(weights)
        return (of_scores @ key).mul_(ctx.scale), of_scores.mT @ scaled, weights.mT @ gradient, None, None


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
    if attention_mask is not None and attention_mask.dtype != torch.bool:
        attention_mask = attention_mask.to(value.dtype)
    # Rotary positions are computed in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    scale = scaling or query.shape[-1] ** -0.5
    found: Tensor = _Products.apply(query, key, value, attention_mask, scale)  # type: ignore[no-untyped-call]
    return found.transpose(1, 2), None


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
