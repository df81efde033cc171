"""What a masked-LM model learns from the attention of another one: how tokens relate to one another.

MiniLM's second version (Wang et al., arXiv:2012.15828): the relations between the queries of a layer, between its keys
and between its values. They are as many numbers in any model, so a student may have other layers, another width and
other heads than its teacher. Queries, keys and values are taken where models hand them to transformers' attention
interface, so there is no list of families.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax
from torch.utils.checkpoint import checkpoint
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from llmkit.models.packed_attention import block_diagonal
from llmkit.system.errors import UserError

HELD = 1 << 27  # relations at a time: half a gigabyte, of which some copies are needed
MOST_HEADS = 48  # relations of a token to each other one, as MiniLM's authors have them for BERT-base
_FAR = -1e9  # a relation that does not count: finite, so that 0 times its logarithm is 0
Attended = tuple[Tensor, ...]  # the queries, keys and values of a layer, [B, heads, L, size]


@contextmanager
def attending(model: Any, layer: int | None = None) -> Iterator[list[Attended]]:
    """Yields a list that gets the queries, keys and values of a layer of a pass, counted from 1; by default of each."""
    name = model.config._attn_implementation
    plain: Any = ALL_ATTENTION_FUNCTIONS.get(name)
    found: list[Attended] = []
    passed = count(1)

    def listening(module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        if next(passed) == layer or layer is None:
            found.append((query, key, value))
        return plain(module, query, key, value, *args, **kwargs)

    if plain is None:  # the family's own, which asks nobody
        yield found
        return
    ALL_ATTENTION_FUNCTIONS[name] = listening
    try:
        yield found
    finally:
        ALL_ATTENTION_FUNCTIONS[name] = plain


class Lessons:
    """A teacher, and how much of a student's loss is what its relations differ by.

    Not a module: the teacher is neither trained nor saved with the student. `layer` of the teacher counts from 1; by
    default it is the last. Raises UserError if the teacher's attention cannot be read, or if it has no such layer.
    """

    def __init__(self, teacher: Any, name: str, *, layer: int | None, weight: float, bf16: bool) -> None:
        self.teacher, self.name, self.weight = teacher.eval().requires_grad_(requires_grad=False), name, weight
        self._bf16 = bf16
        widths = _widths(teacher, f"the teacher {name}")
        self.layer = layer or len(widths)
        if self.layer > len(widths):
            raise UserError(
                f"model.teacher_layer {layer}: the teacher {name} has {len(widths)} layers",
                remedy=f"choose one from 1 to {len(widths)}",
            )
        self._width = widths[self.layer - 1]
        self.own_layer = self.heads = 0  # of a student

    def __deepcopy__(self, _: Any) -> Lessons:
        """The same: copies of a student have one teacher."""
        return self

    def give(self, student: Any) -> None:
        """Let a Packed model learn from the teacher. Raises UserError if its attention cannot be read."""
        widths = _widths(student, f"a {type(student).__name__}")
        self.own_layer = len(widths)
        self.heads = common_heads(*widths[-1], *self._width)
        student.lessons = self

    def __str__(self) -> str:
        return (
            f"{self.name}; layer {self.own_layer} learns {self.heads} relations from its layer {self.layer}, "
            f"a share of {self.weight:g} of the loss"
        )

    def apart(
        self, own: Attended, input_ids: Tensor, position_ids: Tensor, cu_seq_lens: Tensor, places: Tensor
    ) -> Tensor:
        """How far the student's relations `own` are from the teacher's, in nats per token: a number.

        The arguments are those of Packed.forward. Tokens relate to those of their own document.
        """
        device = input_ids.device
        if self.teacher.device != device:
            self.teacher.to(device)
        with (
            torch.no_grad(),
            torch.autocast(device.type, torch.bfloat16, enabled=self._bf16),
            attending(self.teacher, self.layer) as found,
        ):
            # The head runs on one token: only the layers are wanted.
            self.teacher.masked_logits(input_ids, position_ids, cu_seq_lens, places[:1])
        batch, length = input_ids.shape
        same = block_diagonal(batch, length, cu_seq_lens)
        parts = zip(own, found[0], strict=True)
        return torch.stack([relations_apart(*states, self.heads, same).mean() for states in parts]).sum()


def relations_apart(own: Tensor, theirs: Tensor, heads: int, same: Tensor) -> Tensor:
    """How far the relations of each token are from the teacher's, in nats, the mean over the heads: [B, L].

    The arguments are those of `relations`. Of a large batch, a part at a time is in memory: the others are computed
    again for their gradients.
    """
    rows, length = len(own), own.shape[2]
    size = max(1, HELD // (heads * length**2))
    parts = [[each[start : start + size] for each in (own, theirs, same)] for start in range(0, rows, size)]
    if len(parts) == 1:
        return _apart(own, theirs, same, heads)
    found = [checkpoint(_apart, *part, heads, use_reentrant=False, preserve_rng_state=False) for part in parts]
    return torch.cat(found)


def _apart(own: Tensor, theirs: Tensor, same: Tensor, heads: int) -> Tensor:
    expected = relations(theirs, heads, same)
    return (expected.exp() * (expected - relations(own, heads, same))).sum(-1).mean(1)


def relations(states: Tensor, heads: int, same: Tensor) -> Tensor:
    """Log-probabilities [B, heads, L, L] of the relations of each token, from the heads [B, H, L, D] of a layer.

    `same` is true for the tokens that a token relates to, [B, 1, L or 1, L].
    """
    batch, _, length, _ = states.shape
    split = states.transpose(1, 2).reshape(batch, length, heads, -1).transpose(1, 2)
    products = (split @ split.transpose(-1, -2)).float() / split.shape[-1] ** 0.5
    return log_softmax(products.masked_fill(~same, _FAR), dim=-1)


def common_heads(*widths: int) -> int:
    """The most relations, up to MOST_HEADS, that divide all of these widths."""
    return next(heads for heads in range(MOST_HEADS, 0, -1) if not any(width % heads for width in widths))


@torch.no_grad()
def _widths(model: Any, name: str) -> list[list[int]]:
    """The widths of the queries, keys and values of each layer of a Packed model, tried on four tokens.

    Raises UserError if no layer attends through transformers' interface.
    """
    was_training = model.training
    model.eval()
    ids = torch.full((1, 4), (model.config.pad_token_id or 0) + 1, device=model.device)
    edges = torch.tensor([0, 4], dtype=torch.int32, device=model.device)
    with attending(model) as found:
        model.masked_logits(ids, torch.arange(4, device=model.device)[None], edges, edges[:1].long())
    model.train(was_training)
    if not found:
        raise UserError(
            f"{name} computes its attention by itself: the queries, keys and values of a {model.config.model_type} "
            "model cannot be read",
            remedy="choose another family, such as BERT, RoBERTa or ModernBERT",
        )
    return [[each.shape[1] * each.shape[3] for each in layer] for layer in found]
