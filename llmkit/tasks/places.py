"""Where tokens stand in their text: whole characters as a reader sees them, without the white space around words.

Tokenizers disagree on what a token covers. Some count the space before a word as a part of it; a token may be a few
bytes of a character; normalizers drop accents and vowel signs. One rule makes places of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import regex

from llmkit.tasks.values import Array

# What str.strip() removes, and characters without width: Khmer, for one, has U+200B between words.
_BLANK = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u2060\ufeff"
_IS_BLANK = np.zeros(0x10000, bool)
_IS_BLANK[[ord(character) for character in _BLANK]] = True
_BLANKS = regex.compile(f"[{_BLANK}]")

# Grapheme clusters of more than one character have one of these: a mark, a joiner, half of a flag, a letter of Hangul.
_JOINED = regex.compile(r"[^\p{GCB=Other}\p{GCB=Control}\p{GCB=CR}\p{GCB=LF}\p{GCB=LV}\p{GCB=LVT}]")
_CLUSTER = regex.compile(r"\X")


def token_places(offsets: Sequence[tuple[int, int]], text: str) -> Array:
    """The characters [start, end) of each token, [tokens, 2]; (-1, -1) for tokens of white space alone or of nothing.

    `offsets` are the tokenizer's. A place has no white space at its ends, and is extended to whole grapheme clusters
    (Unicode UAX 29), so that a letter keeps its accents and vowel signs. Tokens of one cluster have the same place.
    """
    begins, ends = _borders(text)
    covered = np.fromiter(chain.from_iterable(offsets), np.int32, 2 * len(offsets)).reshape(-1, 2)
    places = np.empty_like(covered)
    places[:, 0], places[:, 1] = begins[covered[:, 0]], ends[covered[:, 1]]
    places[(covered[:, 0] >= covered[:, 1]) | (places[:, 0] >= places[:, 1])] = -1
    return places


def tokens_at(places: Array, start: int, end: int) -> tuple[int, int] | None:
    """The first and last of the tokens that share a character with [start, end); None if no token does.

    A token may hold bytes of two characters. It is left out where other tokens begin or end exactly as asked.
    """
    touching = np.flatnonzero((places[:, 0] < end) & (places[:, 1] > start)).tolist()
    if not touching:
        return None
    first = next((token for token in touching if places[token, 0] == start), touching[0])
    last = next((token for token in reversed(touching) if places[token, 1] == end), touching[-1])
    return (first, last) if first <= last else (touching[0], touching[-1])


def _borders(text: str) -> tuple[Array, Array]:
    """Where a place begins whose token begins at a character, and where one ends; both [characters + 1]."""
    size = len(text)
    begins, ends = np.arange(size + 1), np.arange(size + 1)
    if _JOINED.search(text):
        # A mark may be joined to white space, but not to a line feed: it then stands for itself.
        clusters = _CLUSTER.findall(_BLANKS.sub("\n", text))
        sizes = np.fromiter(map(len, clusters), np.int64, len(clusters))
        ends_of_clusters = sizes.cumsum()
        begins[:-1], ends[1:] = np.repeat(ends_of_clusters - sizes, sizes), np.repeat(ends_of_clusters, sizes)
    blank = _IS_BLANK[np.minimum(np.frombuffer(text.encode("utf-32-le"), np.uint32), 0xFFFF)]
    begins[:-1][blank], ends[1:][blank] = size, 0
    # From white space on to the next cluster, or back to the one before.
    return np.minimum.accumulate(begins[::-1])[::-1], np.maximum.accumulate(ends)
