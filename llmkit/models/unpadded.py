"""Encoders without padding: the rows of a batch go through the layers as one row of tokens.

Only the layers see it. Embeddings and heads get padded tensors as always, so token types, positions, poolers and heads
of any family work as they are. Two hooks on the module that holds the layers drop the padding before it and put it
back behind it, which costs two copies of the hidden states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from llmkit.models.capabilities import positions_of
from llmkit.models.collator import Batch, layout
from llmkit.models.packed_attention import VARLEN, kernel_holds
from llmkit.system.console import warn

TRIED = (150, 7)  # tokens of the rows of a trial; the first is longer than the local attention of known models
TOLERANCE = 1e-4  # of the largest hidden state: many times the rounding errors, far less than a leak between rows


def unpad(model: PreTrainedModel, *, bf16: bool, training: bool = False) -> None:
    """Let an encoder compute without padding, if this GPU's kernel can and the encoder proves to give the same."""
    if kernel_holds(model.config, bf16=bf16, training=training) and gives_the_same(model):
        _attach(model)


def gives_the_same(model: PreTrainedModel) -> bool:
    """Whether an encoder gives the same hidden states with and without padding: it is tried, in float32.

    It does if nothing but attention through transformers' interface looks at other tokens. Relative positions, pooling
    and convolutions would too. So a trial knows families that no list has yet. One that raises an error in it is named.
    """
    encoder: Any = model.base_model
    if model.config.is_encoder_decoder or not encoder._supports_attention_backend:
        return False
    lengths = [min(length, positions_of(encoder) or length) for length in TRIED]
    most = max(lengths)
    mask = torch.arange(most)[None, :] < torch.tensor(lengths)[:, None]
    ids = torch.randint(model.config.vocab_size, mask.shape, generator=torch.Generator().manual_seed(0))
    padded = {"input_ids": ids, "attention_mask": mask.long()}
    was_training = encoder.training
    encoder.eval()
    try:
        expected = _hidden_states(encoder, padded)[mask]
        with _unpadded(model) as flattened:
            found = _hidden_states(encoder, padded | layout(lengths, most, sum(lengths) + 5))[mask]
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        warn(f"{type(model).__name__} cannot do without padding, which takes longer: {error}")
        return False
    finally:
        encoder.train(was_training)
    return flattened == [True] and bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())


@torch.no_grad()
def _hidden_states(encoder: PreTrainedModel, batch: Batch) -> Tensor:
    states: Tensor = encoder(**{name: tensor.to(encoder.device) for name, tensor in batch.items()}).last_hidden_state
    return states


@contextmanager
def _unpadded(model: PreTrainedModel) -> Iterator[list[bool]]:
    """Yields a list that says of each pass through the layers whether its padding was dropped."""
    flattened: list[bool] = []

    def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        flattened.append("padded" in kwargs)

    attention = model.config._attn_implementation
    hooks = _attach(model)
    hooks.append(holder_of_layers(model.base_model).register_forward_pre_hook(look, with_kwargs=True))
    try:
        yield flattened
    finally:
        for hook in hooks:
            hook.remove()
        model.config._attn_implementation = attention


def _attach(model: PreTrainedModel) -> list[Any]:
    """Put the hooks where they belong, and choose the attention for them."""
    layers = holder_of_layers(model.base_model)
    hooks = [
        layers.register_forward_pre_hook(_drop_padding, with_kwargs=True),
        layers.register_forward_hook(_put_padding_back, with_kwargs=True),
    ]
    model.config._attn_implementation = VARLEN
    return hooks


def holder_of_layers(encoder: nn.Module) -> nn.Module:
    """The module between embeddings and pooler; the encoder itself where its layers are a plain list in it."""
    for child in encoder.children():
        if not isinstance(child, nn.ModuleList) and any(isinstance(part, nn.ModuleList) for part in child.modules()):
            return child
    return encoder


def _drop_padding(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Turn what enters the layers from [B, L, …] into [1, T, …]."""
    places = kwargs.get("token_places")
    if places is None:
        return None
    states = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.ndim > 1)
    rows, length = states.shape[:2]
    kept = places.clamp(max=rows * length - 1)

    def flat(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.shape[:2] != (rows, length):
            return value
        return value.flatten(0, 1).index_select(0, kept)[None]

    more = {"position_ids": (places % length)[None], "max_length": length, "padded": (rows, length)}
    return tuple(map(flat, args)), {name: flat(value) for name, value in kwargs.items()} | more


def _put_padding_back(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """Turn what leaves the layers from [1, T, H] into [B, L, H], with zeros for padding."""
    places = kwargs.get("token_places")
    if places is None:
        return None
    rows, length = kwargs["padded"]
    states = output.last_hidden_state[0]
    # The row behind the last is for the tokens to ignore.
    padded = states.new_zeros(rows * length + 1, states.shape[-1]).index_copy(0, places, states)
    output.last_hidden_state = padded[:-1].unflatten(0, (rows, length))
    return output
