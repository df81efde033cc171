"""Collate features of different lengths into padded tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

Batch = dict[str, Tensor]

PAD_TO = 8  # tokens: GPU kernels are faster for multiples of this; CPUs gain nothing from it


class Collator:
    """Pads features to the length of the longest.

    Inputs that are not in the tokenizer's `model_input_names` are dropped. `targets(rows, length)` returns the tensors
    that training needs; without it, a batch has inputs only.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        targets: Callable[[Sequence[Mapping[str, Any]], int], Batch] | None = None,
    ) -> None:
        self._targets = targets
        self._pad = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": 0}
        self._inputs = [name for name in self._pad if name in tokenizer.model_input_names]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Collate rows of features, each with `input_ids` and `length`, into int64 tensors [B, L]."""
        length = max(row["length"] for row in rows)
        if torch.cuda.is_available():
            length = -(-length // PAD_TO) * PAD_TO
        batch = {
            name: padded([row[name] for row in rows], length, self._pad[name])
            for name in self._inputs
            if name in rows[0]
        }
        lengths = torch.tensor([row["length"] for row in rows])
        batch["attention_mask"] = (torch.arange(length)[None, :] < lengths[:, None]).long()
        return batch | (self._targets(rows, length) if self._targets else {})


def padded(rows: Sequence[Sequence[int]], length: int, value: int) -> Tensor:
    """Pad rows of integers with `value`. Returns an int64 tensor [rows, length]."""
    filled = np.full((len(rows), length), value, dtype=np.int64)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return torch.from_numpy(filled)
