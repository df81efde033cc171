"""Features of any length as padded tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmkit.tasks.base import IGNORED, Codec

Batch = dict[str, Tensor]


PAD_TO = 8  # tokens; a multiple that the attention kernels of GPUs want. On a CPU it would only be padding.


class Collator:
    """Features of any length → tensors, padded to the longest among them.

    What the model's tokenizer does not name as an input is left out.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._pad = {"input_ids": codec.tokenizer.pad_token_id or 0, "token_type_ids": 0}
        self._inputs = [name for name in self._pad if name in codec.tokenizer.model_input_names]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        length = max(row["length"] for row in rows)
        if torch.cuda.is_available():
            length = -(-length // PAD_TO) * PAD_TO
        batch = {
            name: _padded([row[name] for row in rows], length, self._pad[name])
            for name in self._inputs
            if name in rows[0]
        }
        lengths = torch.tensor([row["length"] for row in rows])
        batch["attention_mask"] = (torch.arange(length)[None, :] < lengths[:, None]).long()
        for name in ("start_positions", "end_positions", "label"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows])
        if "label" in batch:
            batch["labels"] = batch.pop("label")
        if "tag_labels" in rows[0]:
            batch["labels"] = _padded([row["tag_labels"] for row in rows], length, IGNORED)
        if "target_ids" in rows[0]:
            batch |= self._targets([row["target_ids"] for row in rows])
        return batch

    def _targets(self, targets: Sequence[Sequence[int]]) -> Batch:
        """What the decoder is to write, and what it reads while it does: the same, a token later."""
        longest = max(map(len, targets))
        start, pad = self._codec.decoder_start, self._codec.target_tokenizer.pad_token_id
        assert start is not None
        assert pad is not None
        return {
            "labels": _padded(targets, longest, IGNORED),
            "decoder_input_ids": _padded([[start, *target[:-1]] for target in targets], longest, pad),
        }


def _padded(rows: Sequence[Sequence[int]], length: int, value: int) -> Tensor:
    padded = np.full((len(rows), length), value, dtype=np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded)
