"""Which texts share an n-gram of words with other texts, of which there may be billions of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmkit.tasks.values import Array

_BETWEEN = 0  # the number between texts, and of words that are in none of the texts to find
_ODD = np.uint64(0x9E3779B97F4A7C15)  # the factor of the polynomial hash


@dataclass(frozen=True)
class Numbered:
    """Texts as numbers: `numbers` has those of all words, with one between texts; `text_of` says which text each is of.
    `words` are the texts themselves."""

    words: Sequence[Sequence[str]]
    numbers: Array
    text_of: Array


class Vocabulary:
    """Numbers for the words of some texts. All other words have the same number, which is that between texts."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._number_of: dict[str, int] = {}
        for text in texts:
            for word in text:
                self._number_of.setdefault(word, len(self._number_of) + 1)

    def __len__(self) -> int:
        return len(self._number_of) + 1

    def numbered(self, texts: Sequence[Sequence[str]]) -> Numbered:
        """The texts as numbers."""
        number_of = self._number_of.get
        numbers: list[int] = []
        for text in texts:
            numbers += [number_of(word, _BETWEEN) for word in text]
            numbers.append(_BETWEEN)
        text_of = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
        return Numbered(texts, np.array(numbers, np.int32), text_of)


class NGrams:
    """The n-grams of texts, to be found in other texts numbered by the same vocabulary.

    A text with fewer than `n` words is found where it is the whole of another text.

    N-grams are hashes of 64 bits, so that a batch of texts is looked through by a few operations on arrays. What has
    the hash of an n-gram is compared with it, word by word: no other text is ever taken for it.
    """

    def __init__(self, texts: Numbered, vocabulary: Vocabulary, n: int) -> None:
        self.n = n
        self._texts = texts
        self._values = np.random.default_rng(0).integers(2**64, size=len(vocabulary), dtype=np.uint64)
        hashes, self._places = self._grams(texts)
        self._hashes, self._first, self._gram = np.unique(hashes, return_index=True, return_inverse=True)
        self._where = np.full(len(self._hashes), -1)  # the other text in which each n-gram was found
        self._whole = np.full(len(texts.words), -1)  # the other text that each short text is
        self._short: dict[tuple[str, ...], list[int]] = {}
        for number, text in enumerate(texts.words):
            if 0 < len(text) < n:
                self._short.setdefault(tuple(text), []).append(number)

    def look_in(self, others: Numbered, first: int) -> None:
        """Look in other texts; `first` is the number of the first of them."""
        for number, text in enumerate(others.words, first):
            if 0 < len(text) < self.n:
                self._whole[self._short.pop(tuple(text), [])] = number
        hashes, places = self._grams(others)
        if not len(hashes) or not len(self._hashes):
            return
        gram = np.searchsorted(self._hashes, hashes).clip(max=len(self._hashes) - 1)
        new = (self._hashes[gram] == hashes) & (self._where[gram] < 0)
        gram, places, offsets = gram[new], places[new], np.arange(self.n)
        ours = self._texts.numbers[self._places[self._first[gram]][:, None] + offsets]
        same = (ours == others.numbers[places[:, None] + offsets]).all(axis=1)
        self._where[gram[same]] = first + others.text_of[places[same]]

    @property
    def touched(self) -> Array:
        """Whether each text was found so far, [texts]."""
        found = self._whole >= 0
        found[self._texts.text_of[self._found_places()]] = True
        return found

    def shared_words(self) -> Array:
        """How many of the words of each text are in n-grams that were found, [texts]."""
        size = len(self._texts.numbers)
        begun = np.bincount(self._found_places(), minlength=size)
        ended = np.bincount(self._found_places() + self.n, minlength=size)[:size]
        shared = np.bincount(self._texts.text_of[np.cumsum(begun - ended) > 0], minlength=len(self._whole))
        lengths = np.bincount(self._texts.text_of, minlength=len(self._whole)) - 1
        return np.where(self._whole >= 0, lengths, shared)

    def found_in(self, text: int) -> int:
        """The number of the other text in which most n-grams of a touched text were found."""
        if self._whole[text] >= 0:
            return int(self._whole[text])
        where = self._where[self._gram[self._texts.text_of[self._places] == text]]
        return int(np.bincount(where[where >= 0]).argmax())

    def _found_places(self) -> Array:
        return self._places[self._where[self._gram] >= 0]

    def _grams(self, texts: Numbered) -> tuple[Array, Array]:
        """The hash of each n-gram of known words inside a text, and its place."""
        number = len(texts.numbers) - self.n + 1
        if number <= 0:
            return np.empty(0, np.uint64), np.empty(0, np.intp)
        unknown = np.concatenate([[0], np.cumsum(texts.numbers == _BETWEEN)])
        places = np.flatnonzero(unknown[self.n :] == unknown[:number])
        hashes = np.zeros(len(places), np.uint64)
        for offset in range(self.n):
            hashes = hashes * _ODD + self._values[texts.numbers[places + offset]]
        return hashes, places
