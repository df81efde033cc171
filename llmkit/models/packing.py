"""How a model of each family is told which tokens of a packed block are of the same document.

Families take it in different forms. `packing_trial` finds out which one a model takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from llmkit.models.packed_attention import VARLEN, block_diagonal


class Mask(Enum):
    """The form of the mask that keeps attention within documents."""

    BOOLEAN = "bool [B, 1, L, L], as torch's attention takes it"
    ADDED = "the same as 0 and -inf, which the model adds to its scores"
    BY_LAYER = "one for layers that attend to a whole document, one for those that attend to their surroundings"
    AT_LAYERS = "bool [B, 1, L, L] for the layers alone: the embeddings take a mask of padding only"


@dataclass(frozen=True)
class Packing:
    """How a model packs.

    mask            the form of its mask
    first_position  the position of a document's first token; None if the model takes no positions
    head_on_chosen  whether its head gives the same for masked tokens alone
    """

    mask: Mask = Mask.BOOLEAN
    first_position: int | None = 0
    head_on_chosen: bool = True

    def inputs(
        self, config: PretrainedConfig, input_ids: Tensor, position_ids: Tensor, cu_seq_lens: Tensor
    ) -> dict[str, Any]:
        """The model's arguments for a packed batch. Does not synchronize with the GPU.

        input_ids, position_ids: [B, L]; positions count from 0 in each document. cu_seq_lens: int32 [D + 1], where
        documents start in the flattened batch, and its length.
        """
        given: dict[str, Any] = {"input_ids": input_ids}
        if self.first_position is not None:
            given["position_ids"] = position_ids + self.first_position if self.first_position else position_ids
        if config._attn_implementation == VARLEN:
            # No document in a block is longer than the block. Reading the true maximum would synchronize with the GPU.
            return {**given, "attention_mask": None, "cu_seq_lens": cu_seq_lens, "max_length": input_ids.shape[1]}
        if self.mask is Mask.AT_LAYERS:
            return {**given, "attention_mask": torch.ones_like(input_ids)}
        return {**given, "attention_mask": self._mask_of(config, input_ids, cu_seq_lens)}

    def mask_at_layers(self, config: PretrainedConfig, input_ids: Tensor, cu_seq_lens: Tensor) -> Tensor | None:
        """The mask that takes the place of the one that the model gives its layers; None if that one is right."""
        if self.mask is not Mask.AT_LAYERS or config._attn_implementation == VARLEN:
            return None
        batch, length = input_ids.shape
        return block_diagonal(batch, length, cu_seq_lens)

    def _mask_of(self, config: PretrainedConfig, input_ids: Tensor, cu_seq_lens: Tensor) -> Tensor | dict[str, Tensor]:
        batch, length = input_ids.shape
        same = block_diagonal(batch, length, cu_seq_lens)
        if self.mask is Mask.ADDED:
            return _added(same)
        if self.mask is Mask.BY_LAYER:
            # A single mask would replace the window of the local layers too.
            # Distances as numbers would take eight times the memory of a mask: a gigabyte for a block of 8,192 tokens.
            near = same.tril(config.sliding_window).triu_(-config.sliding_window)
            masks = {"full_attention": same, "sliding_attention": near}
            if same.is_cuda:
                return masks
            # On a CPU, every layer would make these numbers of a boolean mask and keep them for the backward pass: a
            # quarter of a gigabyte a layer for such a block.
            return {kind: _added(mask) for kind, mask in masks.items()}
        return same


def _added(mask: Tensor) -> Tensor:
    """A boolean mask as 0 and -inf."""
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill_(~mask, float("-inf"))
