"""Load, check, save and identify a tokenizer. `vocabularies` trains one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.corpus.special_tokens import settle_special_tokens
from llmkit.corpus.vocab_txt import lone_vocabulary, read_vocabulary
from llmkit.system.errors import UserError
from llmkit.system.hub import reading_from_the_hub

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAVE_ONE = "save a tokenizer there with save_pretrained, or name another"
DECODER_TOKENIZER = "decoder_tokenizer"  # subfolder of a model whose decoder has a vocabulary of its own
# What tokenizers were saved as before tokenizer.json.
PARTS = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


def load_tokenizer(path: str, *, name: str = "", subfolder: str = "") -> PreTrainedTokenizerFast:
    """Load the tokenizer of a Hub id, a folder or a `vocab.txt`. `name` replaces `path` in error messages.

    Raises UserError if there is none, if it is not a fast tokenizer, or if it has no vocabulary or special tokens.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    name = name or path
    if (file := lone_vocabulary(Path(path) / subfolder)) is not None:
        return read_vocabulary(file)
    try:
        with reading_from_the_hub("model", path):
            tokenizer = AutoTokenizer.from_pretrained(path, subfolder=subfolder)
    # ImportError: it needs SentencePiece. TypeError: SentencePiece is there, but not the file that it reads.
    except (ValueError, OSError, KeyError, ImportError, TypeError) as error:
        raise _not_loaded(path, name, error) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"the tokenizer of {name} is not a fast tokenizer (of the tokenizers library)", remedy="choose another"
        )
    # If its files are missing, transformers silently creates a tokenizer that has only the special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"the tokenizer of {name} has no vocabulary: its files are missing", remedy=SAVE_ONE)
    if not tokenizer.all_special_ids:
        raise UserError(
            f"the tokenizer of {name} names no special tokens: they are not in tokenizer.json",
            remedy="add the tokenizer_config.json that belongs to it",
        )
    settle_special_tokens(tokenizer, name)
    forget_lengths(tokenizer)
    return tokenizer


def _not_loaded(path: str, name: str, error: Exception) -> UserError:
    """The error for a tokenizer that transformers cannot load. Says so if a folder has only parts of one."""
    parts = [file.name for file in (Path(path) / part for part in PARTS) if file.is_file()]
    if parts and not (Path(path) / "tokenizer.json").is_file():
        return UserError(
            f"{name} holds {', '.join(parts)}, but no tokenizer.json",
            remedy="load them with the tokenizer's own class, such as RobertaTokenizer.from_pretrained(FOLDER), and "
            "save it there with save_pretrained",
        )
    return UserError(f"no tokenizer could be loaded from {name}: {str(error).splitlines()[0]}", remedy=SAVE_ONE)


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
