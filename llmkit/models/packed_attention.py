"""Attention over packed documents: a token sees those of its own document, and no others.

Everywhere, that is a mask with blocks on its diagonal. On a GPU in bf16, torch's variable-length attention, a
FlashAttention kernel that computes those blocks alone, does the same with less work and no mask.
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
    """Take the variable-length kernel where it can be had: on a GPU, in bf16, without attention dropout, which
    it knows nothing of."""
    if torch.cuda.is_available() and bf16 and not model.config.attention_probs_dropout_prob:
        model.config._attn_implementation = VARLEN


def isolation(config: PretrainedConfig, input_ids: Tensor, cu_seq_lens: Tensor) -> dict[str, Any]:
    """The arguments of a model that keep apart the documents that `cu_seq_lens` delimits in the flattened batch.

    Nothing here waits for a GPU.
    """
    batch, length = input_ids.shape
    if config._attn_implementation == VARLEN:
        # No document's part is longer than a block; the true maximum is on the GPU.
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
