"""BERT's tokenizer from a `vocab.txt` alone, the form in which Google publishes vocabularies: a token per line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.corpus.special_tokens import BERTS
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.files import read_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAME = "vocab.txt"
# With any of these, transformers knows which tokenizer the vocabulary is for.
DESCRIPTIONS = ("tokenizer.json", "tokenizer_config.json", "config.json")


def lone_vocabulary(path: Path) -> Path | None:
    """The `vocab.txt` that `path` names, or that is all that its folder says of a tokenizer; None if there is none."""
    if path.is_file():
        return path if path.suffix == ".txt" else None
    alone = not any((path / name).is_file() for name in DESCRIPTIONS)
    return path / NAME if alone and (path / NAME).is_file() else None


def read_vocabulary(file: Path) -> PreTrainedTokenizerFast:
    """BERT's tokenizer with this vocabulary, which lowercases if all tokens are lowercase.

    Raises UserError if it is not BERT's vocabulary, or cannot be read.
    """
    from transformers import BertTokenizer

    # Not splitlines: U+2028 is a token, and ends a line there.
    lines = (line.removesuffix("\r") for line in read_text(file).split("\n"))
    vocabulary = {token: number for number, token in enumerate(lines) if token}
    if missing := [token for token in BERTS if token not in vocabulary]:
        raise UserError(
            f"{file} is not a vocabulary of BERT's: it has no {', '.join(missing)}",
            remedy="give a vocab.txt with a token per line, or a folder that save_pretrained wrote",
        )
    # [unused0] and the like are no text. Mathematical capitals have no lowercase form.
    cased = next((t for t in vocabulary if t != t.lower() and not t.startswith("[")), None)
    why = "all of it is lowercase, so texts are lowercased" if cased is None else f"it is cased ({cased})"
    say(f"{file} is read as BERT's vocabulary of {len(vocabulary):,} tokens; {why}")
    return BertTokenizer(vocab=vocabulary, do_lower_case=cased is None)
