"""Collate features of different lengths into padded tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from llmkit.models.capabilities import positions_of
from llmkit.models.packed_attention import uses_kernel

Batch = dict[str, Tensor]

# Sizes are rounded up, so that few occur: to a multiple of STEP, and the tokens of a whole batch to one of
# STEPS_PER_DOUBLING sizes between a power of two and the next, if these are farther apart. So at most 64 or a sixteenth
# is filled up.
STEP = 64
STEPS_PER_DOUBLING = 16
Targets = Callable[[Sequence[Mapping[str, Any]], int], Batch]


class Collator:
    """Pads features to the length of the longest.

    Inputs that are not in the tokenizer's `model_input_names` are dropped. `targets(rows, length)` returns the tensors
    that training needs; without it, a batch has inputs only.

    With `buckets`, inputs have few sizes: a GPU's memory is reused and a compiled model stays compiled. No row is
    padded beyond `positions`. With `unpadded`, the batch also says where its tokens are, for a model without padding.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        targets: Targets | None = None,
        *,
        buckets: bool = False,
        positions: int | None = None,
        unpadded: bool = False,
    ) -> None:
        self._targets = targets
        self._pad = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": 0}
        self._inputs = [name for name in self._pad if name in tokenizer.model_input_names]
        self._buckets, self._positions, self._unpadded = buckets, positions, unpadded

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Collate rows of features, each with `input_ids` and `length`, into int64 tensors [B, L].

        The tensors of an unpadded batch are those of `layout`.
        """
        lengths = [row["length"] for row in rows]
        length, tokens = max(lengths), sum(lengths)
        if self._buckets:
            rounded = rounded_up(length, STEP)
            length = rounded if self._positions is None else max(length, min(rounded, self._positions))
            tokens = rounded_up(tokens, bucket_of(tokens, length))
        batch = {
            name: padded([row[name] for row in rows], length, self._pad[name])
            for name in self._inputs
            if name in rows[0]
        }
        batch["attention_mask"] = (torch.arange(length)[None, :] < torch.tensor(lengths)[:, None]).long()
        if self._unpadded:
            batch |= layout(lengths, length, tokens)
        return batch | (self._targets(rows, length) if self._targets else {})


def collator_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    targets: Targets | None = None,
    *,
    buckets: bool,
) -> Collator:
    """The collator of a model. Without buckets, it may also be one that only runs like a model of transformers."""
    positions = None
    if buckets:
        encoder: Any = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
        positions = positions_of(encoder)
    return Collator(tokenizer, targets, buckets=buckets, positions=positions, unpadded=uses_kernel(model))


def layout(lengths: Sequence[int], length: int, tokens: int) -> Batch:
    """Where the tokens of a batch are, padded and flattened.

    lengths      the tokens of each of the B rows
    length       the padded length L
    tokens       T, at least the sum of the lengths: a row of tokens that are ignored fills the rest

    token_places int64 [T], the place of each token in the padded batch [B·L]; B·L for tokens to ignore
    cu_seq_lens  int32 [B + 2], where the rows and the last one start in the flattened batch, and T
    """
    rows = len(lengths)
    ends = np.cumsum(lengths)
    places = np.full(tokens, rows * length)
    # Each row is shifted by the padding before it.
    places[: ends[-1]] = np.arange(ends[-1]) + np.repeat(np.arange(rows) * length - (ends - lengths), lengths)
    return {
        "token_places": torch.from_numpy(places),
        "cu_seq_lens": torch.from_numpy(np.array([0, *ends, tokens], dtype=np.int32)),
    }


def bucket_of(tokens: int, longest: int) -> int:
    """A step of the number of tokens in a batch, so that few numbers occur.

    It is no more than the longest row: the kernel is told that no row is longer.
    """
    step = 1 << (tokens // STEPS_PER_DOUBLING).bit_length() >> 1
    return min(max(STEP, step), longest)


def rounded_up(number: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-number // step) * step


def padded(rows: Sequence[Sequence[int]], length: int, value: int) -> Tensor:
    """Pad rows of integers with `value`. Returns an int64 tensor [rows, length]."""
    filled = np.full((len(rows), length), value, dtype=np.int64)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return torch.from_numpy(filled)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device. From pinned memory, neither this process nor a GPU waits for the copy.

    accelerate can do so too, but waits again after a resume: it forgets the setting when it skips batches.
    """
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in batch.items()}
