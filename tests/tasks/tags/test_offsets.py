"""Entities by their characters: as people mark them in texts, and as predictions give them back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.corpus.words import word_places
from llmkit.tasks.tags.entities import entities
from llmkit.tasks.tags.offsets import mentions, places_of, tags_of
from llmkit.tasks.values import BadRow

TEXT = "Tom Reed's ship, the Elsa, left São Miguel."
CHARACTERS = st.sampled_from([*"abcé .,'\n", "e\u0301", "漢", "ก็", "한", "😀", "क्षि"])
TEXTS = st.lists(CHARACTERS, max_size=30).map("".join)
WORDS = st.lists(CHARACTERS, min_size=1, max_size=4).map("".join)


@pytest.mark.parametrize(
    "marked",
    [
        [{"start": 0, "end": 8, "label": "PER"}, {"start": 32, "end": 42, "label": "LOC"}],
        [[32, 42, "LOC"], [0, 8, "PER"]],
        [
            {"id": 7, "label": "PER", "start_offset": 0, "end_offset": 8},
            {"id": 8, "label": "LOC", "start_offset": 31, "end_offset": 42},
        ],
        [
            {"start": 0, "end": 8, "text": "Tom Reed", "labels": ["PER"]},
            {"start": 32, "end": 42, "text": "São Miguel", "labels": ["LOC"]},
        ],
        [{"start": 0, "end": 8, "type": "PER"}, {"start": 32, "end": 42, "type": "LOC"}],
    ],
)
def test_every_form_of_marks(marked: list[Any]) -> None:
    words, tags, inexact = tags_of(TEXT, marked, "entities")
    assert words == ["Tom", "Reed", "'", "s", "ship", ",", "the", "Elsa", ",", "left", "São", "Miguel", "."]
    assert tags == ["B-PER", "I-PER", *["O"] * 8, "B-LOC", "I-LOC", "O"]
    assert inexact == 0


def test_an_entity_inside_a_word_becomes_the_word() -> None:
    assert tags_of("서울에 산다", [[0, 2, "LOC"]], "label") == (["서울에", "산다"], ["B-LOC", "O"], 1)


def test_neighbours_stay_apart() -> None:
    assert tags_of("漢字", [[0, 1, "A"], [1, 2, "A"]], "label")[1] == ["B-A", "B-A"]


@pytest.mark.parametrize(
    ("marked", "told"),
    [
        ([[0, 8, "PER"], [4, 8, "NAME"]], "a PER and a NAME share the word 'Reed', but a word has one tag"),
        ([[0, 99, "PER"]], "entity 1 of 'label' is from 0 to 99, but the text has 43 characters"),
        ([[5, 5, "PER"]], "is from 5 to 5"),
        ([["0", "8", "PER"]], "is from '0' to '8'"),
        ([[8, 8.5, "PER"]], "is from 8 to 8.5"),
        ([[3, 4, "PER"]], "entity 1 of 'label' holds no word"),
        ([[0, 8, " "]], "entity 1 of 'label' has no label"),
        ([{"start": 0, "end": 8}], "entity 1 of 'label' has no label"),
        ([{"start": 0, "end": 8, "label": ["A", "B"]}], "entity 1 of 'label' has no label"),
        ([[0, 8]], "entity 1 of 'label' is neither"),
        ([{"start": 1, "end": 9, "label": "PER", "text": "Tom Reed"}], "is 'Tom Reed', but characters 1 to 9"),
    ],
)
def test_marks_that_are_not_in_the_text(marked: list[Any], told: str) -> None:
    with pytest.raises(BadRow) as caught:
        tags_of(TEXT, marked, "label")
    assert told in str(caught.value)


@given(TEXTS, st.data())
def test_what_is_marked_is_found_again(text: str, data: st.DataObject) -> None:
    """Whole words that are marked come back as the same characters with the same type."""
    places = list(word_places(text))
    marked, free = [], 0
    while free < len(places):
        first = data.draw(st.integers(free, len(places) - 1))
        last = data.draw(st.integers(first, len(places) - 1))
        marked.append([places[first][0], places[last][1], data.draw(st.sampled_from(["PER", "LOC"]))])
        free = last + 1
    words, tags, inexact = tags_of(text, marked, "entities")
    assert inexact == 0
    found = list(mentions(tags, [1.0] * len(tags), words, text, entities))
    assert [[entity.start, entity.end, entity.type] for entity in found] == marked
    assert all(entity.text == text[entity.start : entity.end] for entity in found)
    assert all(words[e.start_word : e.end_word] == [e.text[a:b] for a, b in word_places(e.text)] for e in found)


@given(st.lists(WORDS, max_size=6))
def test_words_without_a_text_have_places_in_one(words: list[str]) -> None:
    text, places = places_of(words, None)
    assert text == " ".join(words)
    assert [text[start:end] for start, end in places] == words


def test_tags_of_other_checkpoints_are_no_entities() -> None:
    """Old scripts train with labels such as [CLS] and X."""
    (found,) = mentions(["[CLS]", "B-PER", "X"], [0.5, 0.25, 0.5], ["a", "tom", "b"], None, entities)
    assert (found.text, found.start, found.end, found.start_word, found.end_word) == ("tom", 2, 5, 1, 2)
    assert found.score == 0.25
