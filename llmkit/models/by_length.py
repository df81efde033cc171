"""Train an encoder on a CPU without much padding: rows of similar length go through it together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

if TYPE_CHECKING:
    from transformers import PreTrainedModel as Plain
else:
    Plain = object  # it comes before the class of a family, never alone

ROWS = 8  # at least in a group: fewer make a CPU wait
SHORTER = 0.8  # of the longest of a group: a row that is shorter may begin the next one


class ByLength(Plain):
    """A family's encoder whose training pass reads rows in groups of similar length; name, weights and format are the
    same. A question and the passage that answers it are in one batch, and one of them is ten times as long."""

    def forward(self, **batch: Any) -> Any:
        """As in the family's class; in training on a CPU, the output has `last_hidden_state` alone, 0 for padding."""
        mask: Tensor = batch["attention_mask"]
        if not self.training or mask.device.type != "cpu" or "token_places" in batch:
            return super().forward(**batch)
        lengths = mask.sum(dim=1)
        order = torch.argsort(lengths, descending=True, stable=True)
        states: list[Tensor] = []
        for rows in _groups(order, lengths):
            longest = int(lengths[rows[0]])
            found = super().forward(**{name: tensor[rows, :longest] for name, tensor in batch.items()})[0]
            states.append(torch.nn.functional.pad(found, (0, 0, 0, mask.shape[1] - longest)))
        return BaseModelOutput(last_hidden_state=torch.cat(states)[torch.argsort(order)])


def _groups(order: Tensor, lengths: Tensor) -> list[Tensor]:
    """Numbers of rows, longest first, in groups."""
    bounds = [0]
    sorted_lengths = lengths[order].tolist()
    for number, length in enumerate(sorted_lengths):
        enough = number - bounds[-1] >= ROWS and len(order) - number >= ROWS
        if enough and length < SHORTER * sorted_lengths[bounds[-1]]:
            bounds.append(number)
    return [order[start:end] for start, end in zip(bounds, [*bounds[1:], len(order)], strict=True)]


def by_length(model: Any) -> None:
    """Let an encoder train so."""
    plain = type(model)
    model.__class__ = type(plain.__name__, (ByLength, plain), {"__module__": plain.__module__})
