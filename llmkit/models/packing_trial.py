"""Find out how a masked-LM model keeps the documents of a block apart, by trying it on a few tokens.

A model packs if nothing but masked attention looks at other tokens, and if a document in a block is read as if it were
alone. Convolutions, pooling and some sparse attention look at neighbours by themselves. A trial knows families that no
list has yet. It computes in float32 and draws no random numbers that training would draw.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from llmkit.models.capabilities import positions_of, skipped_positions
from llmkit.models.packed_attention import VARLEN, kernel_holds
from llmkit.models.packing import Mask, Packing
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.out_of_memory import is_out_of_memory

LEAK = 1e-6  # allowed change of a logit when another document changes
TOLERANCE = 1e-4  # of the largest logit: many times the rounding errors, far less than what another mask changes
LONGEST = 1024  # tokens of a block in a trial: more than those of which BigBird attends to all
DOCUMENTS = (300, 100)  # tokens of its first two; the first is longer than the local attention of known models
PLACES = 64  # at which logits are compared, besides the ends of documents
# What a model may raise that is given a mask or positions in a form that it does not take.
NOT_TAKEN = (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError, AssertionError)


class _Misread(Exception):
    """A block is not read as its documents are."""


class _Leak(_Misread):
    """Documents of a block see each other."""


def settle_packing(model: Any, name: str, length: int) -> None:
    """Set the `packing` of a Packed model for blocks of `length` tokens. Says where it costs time or differs.

    Raises UserError if the model does not keep documents apart.
    """
    family = model.config.model_type
    failures: list[Exception] = []
    first = skipped_positions(model.base_model) if _takes(model, "position_ids") else None
    with _trying(model):
        for head_on_chosen, mask in product((True, False), _masks(model.config)):
            model.packing = Packing(mask, first, head_on_chosen)
            try:
                restarted = _positions_restart(model, min(length, LONGEST))
                break
            except (_Misread, *NOT_TAKEN) as failure:
                if is_out_of_memory(failure):
                    raise
                failures.append(failure)
        else:
            # A form that ran tells more about a family than one that it does not take.
            cause = next(one for kind in (_Leak, _Misread, Exception) for one in failures if isinstance(one, kind))
            raise UserError(
                f"{name} cannot be pretrained: {_said(cause, family, length)}",
                remedy="continue from another family, such as BERT, RoBERTa, DeBERTa v3 or ModernBERT",
            ) from cause
    if not restarted:
        say(f"{name}: positions run on through a block, since a {family} model counts them itself")
    if not head_on_chosen:
        say(f"{name}: the head of a {family} model runs on all tokens, not on the masked ones alone: steps take longer")


def _said(cause: Exception, family: str, length: int) -> str:
    """Why a family does not pack."""
    if isinstance(cause, _Leak):
        return (
            f"packed into a block of {length}, documents of a {family} model see each other, since it looks at other "
            "tokens by more than attention or by an attention of its own"
        )
    if isinstance(cause, _Misread):
        return f"packed into a block of {length}, a document is not read by a {family} model as if it were alone"
    first, *_ = str(cause).splitlines() or [""]
    error = f"{type(cause).__name__}: {first}" if first else type(cause).__name__
    return f"in a block of {length}, a {family} model takes no mask of documents ({error})"


def choose_attention(model: Any, *, bf16: bool) -> None:
    """Let a Packed model use the variable-length kernel, where it holds and the model proves to give the same by it."""
    if kernel_holds(model.config, bf16=bf16, training=True) and _kernel_gives_the_same(model):
        model.config._attn_implementation = VARLEN


def _kernel_gives_the_same(model: Any) -> bool:
    """Whether a model tells its attention where documents are. In float32, a mask takes the kernel's place."""
    block = _block(model, min(LONGEST, positions_of(model.base_model) or LONGEST))
    attention = model.config._attn_implementation
    with _trying(model):
        expected = model.masked_logits(**block)
        model.config._attn_implementation = VARLEN
        try:
            return _same(model.masked_logits(**block), expected)
        except NOT_TAKEN as error:
            if is_out_of_memory(error):
                raise
            return False
        finally:
            model.config._attn_implementation = attention


@contextmanager
def _trying(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _takes(model: Any, name: str) -> bool:
    return all(name in inspect.signature(forward).parameters for forward in (model.plain, model.base_model.forward))


def _masks(config: PretrainedConfig) -> list[Mask]:
    """The forms of a mask to try."""
    local = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    return [*([Mask.BY_LAYER] if local else []), Mask.BOOLEAN, Mask.ADDED, Mask.AT_LAYERS]


def _positions_restart(model: Any, length: int) -> bool:
    """Whether positions start anew in each document of a block. Raises _Misread if documents are not kept apart."""
    block = _block(model, length)
    ids, places = block["input_ids"], block["masked_positions"]
    _, first, second, _ = block["cu_seq_lens"].tolist()
    changed = ids.clone()
    changed[:, first:second] = _tokens(model, second - first, seed=1)
    within = (places >= first) & (places < second)
    packed, other = model.masked_logits(**block), model.masked_logits(**{**block, "input_ids": changed})
    # Before BigBird reads a short text: from then on it attends to everything.
    if not (packed - other).abs()[~within].max() <= LEAK:
        raise _Leak
    alone = [model.plain(input_ids=ids[:, start:end]).logits[0] for start, end in ((0, first), (first, second))]
    if not _same(packed[places < first], alone[0][places[places < first]]):
        raise _Misread
    return _same(packed[within], alone[1][places[within] - first])


def _block(model: Any, length: int) -> dict[str, Tensor]:
    """A block of three documents, whose logits are compared at their ends and at some places between."""
    lengths = [min(length - length // 4 - length // 8, DOCUMENTS[0]), min(length // 4, DOCUMENTS[1])]
    lengths.append(length - sum(lengths))
    edges = torch.tensor([0, *lengths]).cumsum(0)
    near = (edges[:, None] + torch.arange(-3, 4)).flatten()  # where a convolution would look at another document
    some = min(PLACES, length // 2)  # not all, or a head that needs all would pass
    places = torch.cat([torch.linspace(0, length - 1, some).long(), near]).clamp(0, length - 1).unique()
    block = {
        "input_ids": _tokens(model, length, seed=0),
        "position_ids": torch.cat([torch.arange(count) for count in lengths])[None],
        "cu_seq_lens": edges.to(torch.int32),
        "masked_positions": places,
    }
    return {name: tensor.to(model.device) for name, tensor in block.items()}


def _tokens(model: Any, length: int, *, seed: int) -> Tensor:
    """Any tokens [1, length] but padding, which some models skip when they count positions."""
    size, padding = model.config.vocab_size, getattr(model.config, "pad_token_id", None)
    ids = torch.randint(size, (1, length), generator=torch.Generator().manual_seed(seed), device="cpu")
    return (ids if padding is None else torch.where(ids == padding, (padding + 1) % size, ids)).to(model.device)


def _same(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())
