"""Features of any length as padded tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

Batch = dict[str, Tensor]

PAD_TO = 8  # tokens: GPU kernels want such a multiple; on a CPU it would only be padding


class Collator:
    """Pads features to the longest among them.

    Inputs that the tokenizer's `model_input_names` lacks are left out. `targets(rows, length)` adds what training
    needs; None for inputs alone.
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
        """Rows of features, each with `input_ids` and `length` → tensors of [rows, longest]."""
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
    """Rows of whole numbers, filled up with `value` to [rows, length]."""
    filled = np.full((len(rows), length), value, dtype=np.int64)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return torch.from_numpy(filled)
