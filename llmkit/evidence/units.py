"""The words that are explained: in the user's own text, each with the tokens that stand for it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.corpus.words import word_places
from llmkit.tasks.explained import Explained


@dataclass(frozen=True)
class Unit:
    """A word or punctuation mark: the characters [start, end) of a text, and its tokens in the input.

    Where a token covers several words, they are one unit. `own` says that it is part of the answer itself.
    """

    text: int
    start: int
    end: int
    tokens: tuple[int, ...]
    own: bool


def units_of(explained: Explained) -> list[Unit]:
    """The units of an input, in the order of its texts. White space and special tokens are in none."""
    return [unit for number in range(len(explained.texts)) for unit in _units(explained, number)]


def _units(explained: Explained, number: int) -> Iterator[Unit]:
    words = list(word_places(explained.texts[number][1]))
    starts, ends = [start for start, _ in words], [end for _, end in words]
    joined: set[int] = set()  # words that a token covers together with the next one
    tokens: dict[int, list[int]] = defaultdict(list)  # by their first word
    for token, (text, start, end) in enumerate(explained.places.tolist()):
        if text != number:
            continue
        first, after = bisect_right(ends, start), bisect_left(starts, end)
        if first < after:
            tokens[first].append(token)
            joined.update(range(first, after - 1))
    first = 0
    while first < len(words):
        last = first
        while last in joined:
            last += 1
        its = [token for word in range(first, last + 1) for token in tokens[word]]
        if its:
            start, end, own = starts[first], ends[last], explained.own
            inside = own is not None and own.text == number and start < own.end and end > own.start
            yield Unit(number, start, end, tuple(its), inside)
        first = last + 1
