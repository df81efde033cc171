"""One number of a model as a function of its input's tokens: what attribution and deletion look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from llmkit.models.collator import collator_for, to_device
from llmkit.models.eval_batches import rows_at_a_time
from llmkit.system.errors import UserError
from llmkit.tasks.explained import Explained
from llmkit.tasks.head import Head
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class Probe:
    """The explained number of inputs that differ from the given one in tokens alone.

    ids     int64 [1, L], the tokens of the input
    masked  the same with [MASK] for every token of the user's texts: special tokens stay where they are

    [MASK] stands for a word that the model is not told, which pretraining has taught it. [PAD] would not: RoBERTa
    counts positions without padding, so all words behind it would move.
    """

    def __init__(
        self, model: PreTrainedModel, head: Head, explained: Explained, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        self.model, self._head, self._number = model, head, explained.number
        batch = to_device(collator_for(model, tokenizer, buckets=False)([explained.feature]), model.device)
        self.ids = batch.pop("input_ids")
        self._others = batch
        self.mask = mask_of(tokenizer)
        self.masked = self.without(np.flatnonzero(explained.places[:, 0] >= 0).tolist())

    @property
    def rows(self) -> int:
        """How many inputs are a batch."""
        return rows_at_a_time(self.ids.shape[1], self.model.device)

    def without(self, tokens: Sequence[int]) -> Tensor:
        """The input with [MASK] for these tokens, [1, L]."""
        return self.ids.index_fill(1, torch.tensor(tokens, dtype=torch.long, device=self.ids.device), self.mask)

    def __call__(self, ids: Tensor) -> Tensor:
        """The number of each input, [B], from its tokens, [B, L]."""
        others = {name: tensor.expand(len(ids), -1) for name, tensor in self._others.items()}
        # The other kernels of attention may add in any order in their backward pass, on a GPU.
        with sdpa_kernel(SDPBackend.MATH):
            return self._number(self._head.outputs(self.model, {"input_ids": ids, **others}))

    def values(self, inputs: Iterable[Tensor]) -> Array:
        """The number of each input [1, L], in float64. Equal inputs are computed once."""
        given = torch.cat(list(inputs))
        different, places = torch.unique(given, dim=0, return_inverse=True)
        with torch.no_grad():
            found = torch.cat([self(some) for some in different.split(self.rows)])
        numbers: Array = found[places].double().cpu().numpy()
        return numbers


def mask_of(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that stands for an unknown word. Raises UserError if the tokenizer has none."""
    for token in (tokenizer.mask_token_id, tokenizer.unk_token_id):
        if token is not None:
            return int(token)
    raise UserError(
        "the model's tokenizer has no mask token, with which words are left out",
        remedy="use a model with a masked language model's tokenizer, such as BERT",
    )
