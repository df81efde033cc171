"""Words in any script."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from llmkit.corpus.words import tokens, word_places, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The lamp, lit in 1874.", ["The", "lamp", "lit", "in", "1874"]),
        ("东港的灯塔 1874年", ["东", "港", "的", "灯", "塔", "1874", "年"]),
        ("मेले में किताबें", ["मेले", "में", "किताबें"]),
        ("Маяк снова горит", ["Маяк", "снова", "горит"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("かさ ガラス", ["か", "さ", "ガ", "ラ", "ス"]),
        ("등대가 다시", ["등대가", "다시"]),
        ("cafe\u0301 na\u00efve", ["cafe\u0301", "na\u00efve"]),
        ("می\u200cروم", ["می\u200cروم"]),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_symbols_are_words_of_their_own() -> None:
    text = "Tomas (of Velmora)…"
    assert [text[a:b] for a, b in word_places(text)] == ["Tomas", "(", "of", "Velmora", ")", "…"]


def test_emoji_are_whole_and_what_is_not_seen_is_no_word() -> None:
    text = "\u200e秦淮\u200b👨\u200d👩\u200d👧 👍🏽🇩🇪\ufeff"
    assert [text[a:b] for a, b in word_places(text)] == ["秦", "淮", "👨\u200d👩\u200d👧", "👍🏽", "🇩🇪"]


@given(st.text())
def test_places_cover_everything_that_is_seen(text: str) -> None:
    covered = "".join(text[start:end] for start, end in word_places(text))
    unseen = regex.compile(r"[\s\p{Cc}\p{Cf}]")
    assert unseen.sub("", covered) == unseen.sub("", text)


def test_the_short_way_finds_the_same_tokens() -> None:
    for character in map(chr, range(0x2100)):
        for text in (character, f"a{character}", f"{character}a", character * 2, f"1{character}b"):
            assert tokens(text) == [text[start:end] for start, end in word_places(text)], repr(text)
