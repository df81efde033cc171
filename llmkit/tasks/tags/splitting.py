"""Sentences of words → token ids, in parts where a sentence is longer than the model reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.tasks.tokenizing import backend_copy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Common words and letters, of which every vocabulary has some.
PROBE = ("a", "the", "of", "in", "de", "la", "1", "a")


class Splitter:
    """Encodes sentences, and splits those longer than `max_length` tokens into parts.

    Each word is read as it is in running text, with the space before it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, max_length: int, task: str) -> None:
        self._backend = backend_copy(tokenizer, "unk_token", task)
        self._backend.no_truncation()
        self._before = " " if _needs_spaces(self._backend) else ""
        self._unknown, self._max_length = tokenizer.unk_token, max_length
        self._room = max_length - tokenizer.num_special_tokens_to_add(pair=False)

    def split(self, sentences: Sequence[Sequence[str]]) -> Iterator[tuple[int, list[int], list[int]]]:
        """(sentence number, token ids, position of each word's first token), in order; each word occurs once."""
        self._backend.no_truncation()
        for owner, (words, encoding) in enumerate(zip(sentences, self._encode(sentences), strict=True)):
            first = _first(encoding)
            if len(encoding) <= self._max_length and len(first) == len(words):
                yield owner, encoding.ids, first
            else:
                for ids, first in self._parts(words, encoding):
                    yield owner, ids, first

    def _encode(self, sentences: Sequence[Sequence[str]]) -> list[Any]:
        before = self._before
        given = [[word if word == self._unknown else before + word for word in words] for words in sentences]
        encodings: list[Any] = self._backend.encode_batch(given, is_pretokenized=True)
        return encodings

    def _parts(self, words: Sequence[str], encoding: Any) -> Iterator[tuple[list[int], list[int]]]:
        """Split a long sentence. Words that the tokenizer turns into no tokens become the unknown token."""
        sizes = Counter(number for number in encoding.word_ids if number is not None)
        words = [word if sizes[number] else self._unknown for number, word in enumerate(words)]
        lengths = [min(sizes[number] or 1, self._room) for number in range(len(words))]
        self._backend.enable_truncation(self._max_length)  # a single word may be longer than a part
        parts = [words[start:end] for start, end in _cuts(lengths, self._room)]
        for part, cut in zip(parts, self._encode(parts), strict=True):
            first = _first(cut)
            assert len(first) == len(part), part
            yield cut.ids, first
        self._backend.no_truncation()


def _needs_spaces(backend: Any) -> bool:
    """Whether words on their own are read as in running text only if a space is put before each.

    Byte-level vocabularies have separate tokens for words with and without a leading space. Others (BERT,
    SentencePiece) mark the starts of words themselves, and a space of ours would be one too many.
    """

    def same(before: str) -> bool:
        words = [before + word for word in PROBE]
        return bool(backend.encode(words, is_pretokenized=True).ids == backend.encode(before + " ".join(PROBE)).ids)

    return not same("") and same(" ")


def _first(encoding: Any) -> list[int]:
    """The position of the first token of each word that has tokens."""
    numbers = encoding.word_ids
    return [n for n, word in enumerate(numbers) if word is not None and (n == 0 or numbers[n - 1] != word)]


def _cuts(lengths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """(start, end) of parts of at most `room` tokens and of about equal length; `lengths` are tokens per word."""
    total = sum(lengths)
    target = -(-total // -(-total // room))
    start = held = 0
    for number, length in enumerate(lengths):
        if held and held + length > target:
            yield start, number
            start, held = number, 0
        held += length
    yield start, len(lengths)
