"""Which tokens of a vocabulary begin a word, and which continue one, for whole-word masking.

Each kind of tokenizer marks words in its own way: WordPiece the pieces that continue one (`##ing`), byte-level and
SentencePiece's tokenizers the space before one (`Ġ`, `▁`), older BPE the end (`</w>`). Words are BERT's: punctuation
marks, and the characters of scripts without spaces, are words of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from unicodedata import category

import numpy as np
import regex

from llmkit.corpus.words import UNSPACED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Array = np.ndarray[Any, np.dtype[Any]]

SPACE = "▁"  # SentencePiece's mark
_JOINS = regex.compile(r"[\p{M}\u200c\u200d]")  # accents, vowel signs and joiners: never apart from what is before
_LETTER = regex.compile(rf"(?![{UNSPACED}])\w")
_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")  # a byte of a character that a SentencePiece vocabulary lacks
# The second byte of a character of three or four, where 0x80 would be wrong or rare: one of Samaritan stands for all
# Indic letters and Thai, one of Vietnamese for all from Georgian to Greek with accents, and an emoji for what is rarer.
_SECOND = {0xE0: b"\xa0", 0xE1: b"\xba", 0xF0: b"\x9f"}

Marks = tuple[bool, bool, bool, bool]  # of a token: begins, joins, ends, opens


@dataclass(frozen=True)
class WordPieces:
    """Tables of a vocabulary, all of them [V].

    `begins`: the token begins a word. `ends`: no token continues its word, except for those in `joins`: accents, and
    bytes in the middle of a character. `opens`: a space alone, to which the next token belongs whatever it is.
    `special`: a special token, behind which a word begins even with an accent: they stand between documents.
    """

    begins: Array
    joins: Array
    ends: Array
    opens: Array
    special: Array

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> WordPieces | None:
        """Read the tables from a tokenizer; None if its tokens don't tell where words begin."""
        marks = _marks_of(json.loads(tokenizer.backend_tokenizer.to_str()))
        if marks is None:
            return None
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        table = np.array([marks(token) for token in tokens])
        special = np.zeros(len(tokens), bool)
        special[[n for n in tokenizer.all_special_ids if n != tokenizer.unk_token_id]] = True
        table[special] = (True, False, True, False)
        begins, joins, ends, opens = table.T
        return cls(begins, joins, ends, opens, special)

    def starts(self, input_ids: Array, places: Array) -> Array:
        """Which of the tokens at `places` of the flattened blocks [B, size] begin a word."""
        flat, has_before = input_ids.reshape(-1), places % input_ids.shape[-1] > 0
        tokens, before = flat[places], flat[places - 1]
        after_end = has_before & self.ends[before] & (self.special[before] | ~self.joins[tokens])
        after_space = has_before & self.opens[before]
        starts: Array = (self.begins[tokens] | after_end) & ~after_space
        return starts


def _marks_of(state: dict[str, Any]) -> Callable[[str], Marks] | None:
    """How a tokenizer's tokens are judged; None if they have no marks."""
    model = state["model"]
    prefix, suffix = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    steps = json.dumps([state[part] for part in ("normalizer", "pre_tokenizer", "decoder")], ensure_ascii=False)
    if model.get("type") == "WordLevel":
        return lambda token: (True, False, True, False)
    if prefix:
        return lambda token: (not token.startswith(prefix), False, False, False)
    if suffix:
        return lambda token: (False, False, token.endswith(suffix), False)
    if '"ByteLevel"' in steps:
        return _by_bytes
    if SPACE in steps:
        return _by_space
    return None


def _by_bytes(token: str) -> Marks:
    """Judge a token of a byte-level vocabulary, whose characters stand for bytes."""
    bytes_ = _bytes()
    # Tokens that were added later are written as they are.
    return _judge(bytes(bytes_[c] for c in token) if all(c in bytes_ for c in token) else token.encode())


def _by_space(token: str) -> Marks:
    """Judge a token of SentencePiece's kind."""
    fallback = _FALLBACK.fullmatch(token)
    return _judge(bytes([int(fallback[1], 16)]) if fallback else token.replace(SPACE, " ").encode())


def _judge(token: bytes) -> Marks:
    """Judge a token by its text, which may begin or end inside a character."""
    inside = next((n for n, byte in enumerate(token) if not 0x80 <= byte < 0xC0), len(token))
    text, is_whole = _completed(token[inside:])
    ends = bool(text) and is_whole and not _continues(text[-1])
    if inside or not text:
        return False, True, ends, False
    if text == " ":
        return True, False, False, True
    return not _continues(text[0]), bool(_JOINS.match(text[0])), ends, False


def _continues(character: str) -> bool:
    return bool(_LETTER.match(character) or _JOINS.match(character))


def _completed(token: bytes) -> tuple[str, bool]:
    """The text of bytes, and whether its last character is whole. Else, one of those that it may be completes it."""
    try:
        return token.decode(), True
    except UnicodeDecodeError as error:
        start = token[error.start :]
        length = 2 if start[0] < 0xE0 else 3 if start[0] < 0xF0 else 4
        if len(start) == 1 and length > 2:
            start += _SECOND.get(start[0], b"\x80")
        return token[: error.start].decode() + _likely(start.ljust(length - 1, b"\x80")), False


@cache
def _likely(start: bytes) -> str:
    """A character that lacks its last byte: the first one of its row, or a letter if that is none and most are."""
    row = [(start + bytes([last])).decode(errors="replace")[0] for last in range(0x80, 0xC0)]
    kinds = [category(character) for character in row]
    if kinds[0][0] in "LM":
        return row[0]
    letters = [character for character, kind in zip(row, kinds, strict=True) if kind[0] == "L"]
    others = sum(kind[0] in "PSZC" and kind != "Cn" for kind in kinds)
    return letters[0] if len(letters) > others else row[0]


@cache
def _bytes() -> dict[str, int]:
    """The byte that a character of a byte-level vocabulary stands for, as GPT-2 defined it."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
