"""The fast tokenizer behind a transformers tokenizer, for encoding many texts at once."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Tokenizers that no longer change, each with the copy that all callers share.
_SHARED: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_NAMES = {"cls_token_id": "[CLS] token", "unk_token": "token for unknown words"}


def backend_copy(tokenizer: PreTrainedTokenizerFast, needed: Literal["cls_token_id", "unk_token"], task: str) -> Any:
    """A copy of the tokenizer's backend, without padding.

    Truncation is a setting of the backend, so the copy keeps the caller's tokenizer unchanged. Raises UserError if the
    tokenizer lacks the `needed` token or pads on the left.
    """
    if getattr(tokenizer, needed) is None or tokenizer.padding_side != "right":
        raise UserError(
            f"a {type(tokenizer).__name__} does not suit {task}: no {_NAMES[needed]}, or padding on the left",
            remedy="use a BERT-like encoder",
        )
    return _SHARED.get(tokenizer) or _copy(tokenizer)


def share_copy(tokenizer: PreTrainedTokenizerFast) -> None:
    """Let all further calls of `backend_copy` return the same copy: to make one takes 0.1 seconds.

    The tokenizer must not change after this, and only one thread may encode with it.
    """
    _SHARED[tokenizer] = _copy(tokenizer)


def _copy(tokenizer: PreTrainedTokenizerFast) -> Any:
    backend = deepcopy(tokenizer.backend_tokenizer)
    backend.no_padding()
    return backend


def encoded(backend: Any, texts: Sequence[str], max_length: int, side: str) -> tuple[list[Any], list[int]]:
    """The encodings of texts of at most `max_length` tokens, and the numbers of the texts that were cut for it.

    `side` is where they are cut: `right` or `left`.
    """
    backend.no_truncation()
    encodings = backend.encode_batch_fast(list(texts))
    cut = [number for number, encoding in enumerate(encodings) if len(encoding) > max_length]
    backend.enable_truncation(max_length, direction=side)
    for number, encoding in zip(cut, backend.encode_batch_fast([texts[n] for n in cut]), strict=True):
        encodings[number] = encoding
    return encodings, cut
