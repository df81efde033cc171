"""Attention over packed documents: tokens attend only to tokens of their own document.

By default this is a block-diagonal mask. On a GPU in bf16, torch's variable-length attention does the same without a
mask: a FlashAttention kernel that computes the diagonal blocks only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

VARLEN = "llmkit_varlen"


def choose_attention(model: PreTrainedModel, *, bf16: bool) -> None:
    """Use the variable-length kernel on a GPU in bf16, unless the model has attention dropout, which it lacks."""
    if torch.cuda.is_available() and bf16 and not model.config.attention_probs_dropout_prob:
        model.config._attn_implementation = VARLEN


def isolation(config: PretrainedConfig, input_ids: Tensor, cu_seq_lens: Tensor) -> dict[str, Any]:
    """The model arguments that keep attention within documents.

    `input_ids`: [B, L]. `cu_seq_lens`: int32 [D + 1], where documents start in the flattened batch, and its length.
    Does not synchronize with the GPU.
    """
    batch, length = input_ids.shape
    if config._attn_implementation == VARLEN:
        # No document in a block is longer than the block. Reading the true maximum would synchronize with the GPU.
        return {"attention_mask": None, "cu_seq_lens": cu_seq_lens, "max_length": length}
    first = torch.zeros(batch * length + 1, dtype=torch.int32, device=input_ids.device)
    first[cu_seq_lens.long()] = 1
    document = first[:-1].cumsum(0).view(batch, length)
    return {"attention_mask": document[:, None, :, None] == document[:, None, None, :]}


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
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query, key, value [B, H, L, D] → [B, L, H, D]."""
    batch, _heads, length, _size = query.shape
    q, k, v = (states.transpose(1, 2).flatten(0, 1) for states in (query, key, value))
    out = varlen_attn(q, k, v, cu_seq_lens, cu_seq_lens, max_length, max_length, scale=scaling)
    assert isinstance(out, Tensor)
    return out.unflatten(0, (batch, length)), None


ALL_ATTENTION_FUNCTIONS.register(VARLEN, _varlen)
