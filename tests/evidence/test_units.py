"""Words and the tokens that stand for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from support.tokenizer_families import tokenizer_of
from torch import zeros

from llmkit.evidence.units import units_of
from llmkit.tasks.explained import Explained, Place
from llmkit.tasks.places import token_places


def explained(texts: Sequence[str], places: Sequence[tuple[int, int, int]], own: Place | None = None) -> Explained:
    named = tuple((str(number), text) for number, text in enumerate(texts))
    return Explained({}, lambda _: zeros(1), "", "", named, np.array(places), own)


def words(given: Explained) -> list[tuple[str, tuple[int, ...]]]:
    return [(given.texts[unit.text][1][unit.start : unit.end], unit.tokens) for unit in units_of(given)]


def test_pieces_of_a_word_are_one_unit_and_special_tokens_are_in_none() -> None:
    given = explained(["ab cd."], [(-1, -1, -1), (0, 0, 1), (0, 1, 2), (0, 3, 5), (0, 5, 6), (-1, -1, -1)])
    assert words(given) == [("ab", (1, 2)), ("cd", (3,)), (".", (4,))]


def test_words_that_a_token_covers_together_are_one_unit() -> None:
    given = explained(["a-b c"], [(0, 0, 2), (0, 2, 3), (0, 4, 5)])
    assert words(given) == [("a-", (0,)), ("b", (1,)), ("c", (2,))]
    chain = explained(["古老的灯"], [(0, 0, 2), (0, 1, 3), (0, 3, 4)])
    assert words(chain) == [("古老的", (0, 1)), ("灯", (2,))]


def test_what_the_model_did_not_read_is_in_no_unit() -> None:
    assert words(explained(["a b c"], [(0, 2, 3)])) == [("b", (0,))]
    assert words(explained(["a \u200b b"], [(0, 0, 1), (0, 2, 3), (0, 4, 5)])) == [("a", (0,)), ("b", (2,))]


def test_the_answer_itself_is_marked_in_its_own_text() -> None:
    given = explained(["ab c", "ab c d"], [(0, 0, 2), (0, 3, 4), (1, 0, 2), (1, 3, 4), (1, 5, 6)], Place(1, 3, 6))
    assert [(unit.text, unit.start, unit.own) for unit in units_of(given)] == [
        (0, 0, False),
        (0, 3, False),
        (1, 0, False),
        (1, 3, True),
        (1, 5, True),
    ]


@pytest.mark.parametrize("family", ["bert-uncased", "roberta", "deberta-v3", "modernbert"])
def test_no_word_of_any_script_is_lost(family: str) -> None:
    text = "The old lamp, 古老的灯塔, น้ำที่นี่ใส, क्षेत्र and 👨‍👩‍👧 of Cafe\u0301."
    encoding = tokenizer_of(family).backend_tokenizer.encode(text, add_special_tokens=False)
    places = [(0, *place) for place in token_places(encoding.offsets, text).tolist()]
    units = units_of(explained([text], places))
    covered = "".join(text[unit.start : unit.end] for unit in units)
    assert "".join(covered.split()) == "".join(text.split())
    assert sorted(token for unit in units for token in unit.tokens) == [
        number for number, (_, start, _) in enumerate(places) if start >= 0
    ], "each token is in one unit"
    if family == "bert-uncased":
        characters = [text[unit.start : unit.end] for unit in units if "一" <= text[unit.start] <= "龥"]
        assert characters == list("古老的灯塔")
