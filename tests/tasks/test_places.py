"""Places of tokens: whole characters, without white space, whatever the tokenizer says a token covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.spans import places_read
from support.tokenizer_families import SENTENCES

from llmkit.tasks.places import token_places, tokens_at

FAMILY = "👨\u200d👩\u200d👧"
CASES = [
    # text, a token's offsets, the characters of its place
    ("by Ines", (2, 7), "Ines"),  # the space before is the token's
    ("Ines by", (0, 5), "Ines"),
    ("a \r\n b", (1, 5), None),
    ("mill\r\nin", (0, 8), "mill\r\nin"),
    ("red\u200blamp", (3, 8), "lamp"),  # a space without width
    ("red\u200b\ufeff", (3, 5), None),
    ("red\xa0\u3000", (0, 5), "red"),
    ("Cafe\u0301 E", (0, 4), "Cafe\u0301"),  # uncased tokenizers drop the accent
    ("e\u0301", (1, 2), "e\u0301"),
    ("मेला में", (5, 6), "में"),
    ("น้ำใส", (0, 1), "น้ำ"),
    (f"a {FAMILY}!", (3, 5), FAMILY),
    ("🇫🇷🇩🇪", (3, 4), "🇩🇪"),
    ("ﬁsh", (0, 1), "ﬁ"),
    ("İn", (0, 1), "İ"),
    ("\u1100\u1161\u11a8", (1, 2), "\u1100\u1161\u11a8"),  # a syllable in three letters
    ("a \u0301b", (2, 3), "\u0301"),  # a mark on a space
    ("\u0600 1", (0, 1), "\u0600"),  # a sign that joins what follows
    ("ship", (2, 2), None),  # a token of nothing
]


@pytest.mark.parametrize(("text", "offsets", "characters"), CASES)
def test_place_of_a_token(text: str, offsets: tuple[int, int], characters: str | None) -> None:
    ((start, end),) = token_places([offsets], text).tolist()
    if characters is None:
        assert (start, end) == (-1, -1)
    else:
        assert text[start:end] == characters


HARD = [
    *" \r\n\t\x1f\u200b\u2028\u3000\ufeff",
    "\u0301",
    "\u200d",
    "\u0600",
    "क",
    "\u094d",
    "ष",
    "👩",
    "🇫",
    "각",
    "\u11a8",
]
TEXT = st.lists(st.sampled_from([*HARD, *SENTENCES.values()]) | st.characters(exclude_categories=["Cs"])).map("".join)


@given(TEXT, st.data())
@example("", None)
def test_places_against_an_independent_reading(text: str, data: st.DataObject | None) -> None:
    position = st.integers(0, len(text))
    offsets = data.draw(st.lists(st.tuples(position, position).map(sorted))) if data else []
    expected = [place or (-1, -1) for place in places_read(text, offsets)]
    assert token_places([tuple(pair) for pair in offsets], text).tolist() == [list(place) for place in expected]


@pytest.mark.parametrize(
    ("places", "asked", "tokens"),
    [
        ([(0, 2), (3, 5), (6, 8)], (3, 5), (1, 1)),
        ([(0, 2), (3, 5), (6, 8)], (4, 7), (1, 2)),
        ([(0, 2), (3, 5)], (2, 3), None),
        ([(0, 2), (-1, -1), (3, 5)], (0, 3), (0, 0)),
        ([(0, 1), (0, 1), (1, 2)], (0, 1), (0, 1)),  # bytes of one character
        ([(0, 1), (0, 2), (1, 2)], (0, 1), (0, 0)),  # the second has bytes of both characters
        ([(0, 1), (0, 2), (1, 2)], (1, 2), (2, 2)),
        ([(0, 2), (1, 3)], (1, 2), (0, 1)),  # no token begins or ends so
        ([(0, 2)], (0, 1), (0, 0)),
    ],
)
def test_tokens_of_some_characters(
    places: list[tuple[int, int]], asked: tuple[int, int], tokens: tuple[int, int] | None
) -> None:
    assert tokens_at(np.array(places), *asked) == tokens
