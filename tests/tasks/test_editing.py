"""Texts with replacements: every place follows its characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.tasks.editing import Edited, Replacement, Texts

LETTERS = "abc é🙂"


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, list[Replacement]]:
    """Any text, and any replacements of parts of it, insertions too."""
    text = draw(st.text(LETTERS, max_size=20))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
    return text, [Replacement(start, end, draw(st.text("xyz ", max_size=4))) for start, end in pairs]


def by_hand(text: str, replacements: list[Replacement]) -> tuple[str, list[int | None]]:
    """The edited text, and for each of its characters the old one that it is; None for a character that is new."""
    characters: list[tuple[str, int | None]] = [(character, number) for number, character in enumerate(text)]
    for start, end, new in reversed(replacements):
        characters[start:end] = [(character, None) for character in new]
    return "".join(character for character, _ in characters), [number for _, number in characters]


@given(edits())
def test_the_text_is_the_one_made_by_hand(case: tuple[str, list[Replacement]]) -> None:
    text, replacements = case
    assert (
        Edited.of(text, replacements).text
        == by_hand(text, [r for r in replacements if text[r.start : r.end] != r.text])[0]
    )


@given(edits(), st.data())
def test_a_place_holds_what_it_held(case: tuple[str, list[Replacement]], data: st.DataObject) -> None:
    """An answer that no edit cuts through: its old characters are all in the new place, others are not, and what is
    inserted at its ends stays outside."""
    text, replacements = case
    edited = Edited.of(text, replacements)
    if not text:
        return
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    if any(r.start < at < r.end for r in edited.replacements for at in (start, end)):
        return
    new_start, new_end = edited.place(start, end)
    made, olds = by_hand(text, list(edited.replacements))
    kept = [old for old in olds if old is not None]
    assert [old for old in olds[new_start:new_end] if old is not None] == [o for o in kept if start <= o < end]
    inside = [
        r._replace(start=r.start - start, end=r.end - start)
        for r in edited.replacements
        if start <= r.start and r.end <= end and not (r.start == r.end and r.start in (start, end))
    ]
    assert made[new_start:new_end] == by_hand(text[start:end], inside)[0]


@given(edits(), st.data())
def test_a_place_that_an_edit_cuts_is_widened(case: tuple[str, list[Replacement]], data: st.DataObject) -> None:
    text, replacements = case
    edited = Edited.of(text, replacements)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    new_start, new_end = edited.place(start, end)
    assert 0 <= new_start <= new_end <= len(edited.text)
    for r in edited.replacements:
        if len(r.text) != r.end - r.start and r.start < start < r.end:
            assert new_start <= edited.place(r.start, r.end)[0]


def test_each_character_stands_for_one_where_the_length_is_the_same() -> None:
    edited = Edited.of("in 1820, he", [Replacement(3, 7, "1847")])
    assert edited.text == "in 1847, he"
    assert edited.place(5, 7) == (5, 7)  # "20" of 1820 is "47" of 1847


def test_edits_that_change_nothing_do_not_count() -> None:
    assert not Edited.of("abc", [Replacement(0, 1, "a"), Replacement(3, 3, "")]).replacements


def test_an_example_changes_if_what_the_model_reads_does() -> None:
    texts = Texts({"source": "abc"}, gold={"target": "abc"})
    assert texts.edited({"source": [Replacement(0, 1, "a")], "target": [Replacement(0, 1, "b")]}) == {}
    found = texts.edited({"source": [Replacement(0, 1, "b")], "target": [Replacement(0, 1, "b")]})
    assert {name: edited.text for name, edited in found.items()} == {"source": "bbc", "target": "bbc"}


def test_overlapping_edits_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        Edited.of("abcdef", [Replacement(0, 3, "x"), Replacement(2, 4, "y")])
