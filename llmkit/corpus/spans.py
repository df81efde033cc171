"""Cut words into spans, as SpanBERT (Joshi et al. 2020) masks them.

The length of a span has a geometric distribution with p = 0.2, of at most ten words: 3.8 on average. SpanBERT draws a
span and a place for it again and again, and rejects those that overlap. Here all words are cut into spans of these
lengths first, of which masking then takes some in random order: the lengths are the same, and nothing is rejected.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_P, _LONGEST = 0.2, 10
_UP_TO = 1 - (1 - _P) ** np.arange(1, _LONGEST + 1)  # the probability of at most 1, 2, … words
_SHARES = _UP_TO / _UP_TO[-1]


def spans_of(words: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Cut this many words in a row into spans. Returns the number of each word's span, from 0, and its place [words].

    The row is cut as a ring, from a random word on, and the places count from there: so each word is as likely to be
    at the beginning of a span, and the first and the last are like all others.
    """
    ends = np.cumsum(1 + np.searchsorted(_SHARES, random.random(words), side="right"))
    begins = np.zeros(words, np.int64)
    begins[ends[: np.searchsorted(ends, words)]] = 1
    places = (np.arange(words) + random.integers(words)) % words
    return np.cumsum(begins)[places], places
