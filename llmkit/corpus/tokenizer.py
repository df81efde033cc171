"""Load, check, save and identify a tokenizer. `vocabularies` trains one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.system.hub import reading_from_the_hub

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAVE_ONE = "save a tokenizer there with save_pretrained, or name another"
DECODER_TOKENIZER = "decoder_tokenizer"  # subfolder of a model whose decoder has a vocabulary of its own


def load_tokenizer(path: str, *, name: str = "", subfolder: str = "") -> PreTrainedTokenizerFast:
    """Load the tokenizer of a Hub id or a folder. `name` replaces `path` in error messages.

    Raises UserError if there is none, if it is not a fast tokenizer, or if it has no vocabulary.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    name = name or path
    try:
        with reading_from_the_hub("model", path):
            tokenizer = AutoTokenizer.from_pretrained(path, subfolder=subfolder)
    except (ValueError, OSError, KeyError, ImportError) as error:  # ImportError: it needs SentencePiece
        raise UserError(
            f"no tokenizer could be loaded from {name}: {str(error).splitlines()[0]}",
            remedy=SAVE_ONE,
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"the tokenizer of {name} is not a fast tokenizer (of the tokenizers library)", remedy="choose another"
        )
    # If its files are missing, transformers silently creates a tokenizer that has only the special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"the tokenizer of {name} has no vocabulary: its files are missing", remedy=SAVE_ONE)
    forget_lengths(tokenizer)
    return tokenizer


def forget_lengths(tokenizer: PreTrainedTokenizerFast) -> None:
    """Reset truncation and padding, which the last call sets. They would be saved and change the tokenizer's hash."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a tokenizer to a new folder, atomically."""
    partial = folder.with_name(f".{folder.name}.partial")
    tokenizer.save_pretrained(partial)
    partial.rename(folder)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hash of everything that determines the ids of a text."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:20]


def check_for_pretraining(tokenizer: Any, name: str) -> None:
    """Raises UserError if the tokenizer lacks a special token that masked language modeling needs."""
    missing = [n for n in ("mask_token", "cls_token", "sep_token", "pad_token") if getattr(tokenizer, n) is None]
    if missing:
        raise UserError(f"the tokenizer of {name} has no {', '.join(missing)}", remedy="use that of a BERT-like model")


def no_text() -> UserError:
    """The error for a corpus of empty documents."""
    return UserError("the corpus holds no text", remedy="check the files and text_column")
