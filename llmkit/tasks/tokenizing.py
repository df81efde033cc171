"""The fast tokenizer behind a transformers tokenizer, for encoding many texts at once."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal

from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

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
    backend = deepcopy(tokenizer.backend_tokenizer)
    backend.no_padding()
    return backend
