"""Attention over packed rows: tokens attend only to tokens of their own row, which is a document or an input.

`block_diagonal` is a mask for that. On a GPU in bf16, torch's variable-length attention does the same without a
mask: a FlashAttention kernel that computes the diagonal blocks only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from llmkit.models.checkpoint import ATTENTION_DROPOUT

VARLEN = "llmkit_varlen"
CAPABILITY = (8, 0)  # of the GPUs that FlashAttention runs on: Ampere and later
MAX_HEAD = 256  # the kernel's largest head, which is also a multiple of 8


def kernel_holds(config: PretrainedConfig, *, bf16: bool, training: bool) -> bool:
    """Whether this GPU's variable-length kernel can compute a model's attention.

    The kernel has no dropout, which matters in training only.
    """
    if not bf16 or not torch.cuda.is_available() or torch.cuda.get_device_capability() < CAPABILITY:
        return False
    heads, width = getattr(config, "num_attention_heads", None), getattr(config, "hidden_size", None)
    size = getattr(config, "head_dim", None) or (width // heads if heads and width else None)
    if size is None or size % 8 or size > MAX_HEAD:
        return False
    return not training or not any(getattr(config, name, 0.0) for name in ATTENTION_DROPOUT)


def uses_kernel(model: Any) -> bool:
    """Whether a model of transformers, or what runs like one, uses the kernel and is told where its rows are."""
    return isinstance(model, PreTrainedModel) and model.config._attn_implementation == VARLEN


def block_diagonal(batch: int, length: int, cu_seq_lens: Tensor) -> Tensor:
    """Which tokens are of the same row, for a batch [B, L] whose rows start at `cu_seq_lens`: bool [B, 1, L, L]."""
    first = torch.zeros(batch * length + 1, dtype=torch.int32, device=cu_seq_lens.device)
    first[cu_seq_lens.long()] = 1
    row = first[:-1].cumsum(0).view(batch, length)
    return row[:, None, :, None] == row[:, None, None, :]


def _varlen(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens: Tensor,
    max_length: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query [B, H, L, D], key and value [B, H or fewer, L, D] → [B, L, H, D].

    `sliding_window` has its meaning there: tokens see others at a distance below it.
    """
    assert not dropout, "the kernel has no dropout"
    if groups := query.shape[1] // key.shape[1] - 1:  # heads that share their keys and values
        key, value = (states.repeat_interleave(groups + 1, dim=1) for states in (key, value))
    # Rotary positions are computed in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    window = -1 if sliding_window is None else sliding_window - 1
    compute = _by_kernel if query.is_cuda and query.dtype != torch.float32 else _by_mask
    return compute(query, key, value, cu_seq_lens, max_length, scaling, window), None


def _by_kernel(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_lens: Tensor, longest: int, scale: float | None, window: int
) -> Tensor:
    batch, _heads, length, _size = query.shape
    q, k, v = (states.transpose(1, 2).flatten(0, 1) for states in (query, key, value))
    out = varlen_attn(q, k, v, cu_seq_lens, cu_seq_lens, longest, longest, scale=scale, window_size=(window, window))
    assert isinstance(out, Tensor)
    states: Tensor = out.unflatten(0, (batch, length))
    return states


def _by_mask(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_lens: Tensor, longest: int, scale: float | None, window: int
) -> Tensor:
    """The same by a mask, where the kernel does not run: on a CPU, and in float32."""
    batch, _heads, length, _size = query.shape
    seen = block_diagonal(batch, length, cu_seq_lens)
    if window >= 0:
        place = torch.arange(length, device=query.device)
        seen = seen & ((place[:, None] - place[None, :]).abs() <= window)
    found: Tensor = scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)
    return found.transpose(1, 2)


ALL_ATTENTION_FUNCTIONS.register(VARLEN, _varlen)
