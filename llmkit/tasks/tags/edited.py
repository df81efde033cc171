"""Sentences that are edited: words keep their tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from llmkit.corpus.words import word_places
from llmkit.tasks.editing import Edited, Place, Texts
from llmkit.tasks.editor import Editor
from llmkit.tasks.tags.entities import OUTSIDE
from llmkit.tasks.tags.offsets import places_of

SENTENCE = "sentence"


@dataclass(frozen=True)
class TagEditor(Editor):
    """Edits a sentence. `each_word` says whether each word is scored on its own."""

    each_word: bool

    unedited: ClassVar[str | None] = None

    def texts(self, example: Mapping[str, Any]) -> Texts:
        """See Editor: the sentence, its text, or its words joined by spaces.

        Words without letters and digits are kept if they are a part of an entity: an edit that drops one could leave a
        tag without its neighbour. Where each word is scored on its own, a dropped word takes its tag along.
        """
        text, places = places_of(example["tokens"], example["text"])
        tags = example["tags"] or [OUTSIDE] * len(places)
        kept = [
            place
            for place, tag in zip(places, tags, strict=True)
            if not self.each_word
            and tag != OUTSIDE
            and not any(character.isalnum() for character in text[slice(*place)])
        ]
        return Texts({SENTENCE: text}, kept={SENTENCE: kept})

    def edited(self, example: Mapping[str, Any], edits: Mapping[str, Edited]) -> dict[str, Any] | None:
        """See Editor: None if a tagged word becomes several, if several become one, or if no word is left.

        A word may vanish, with its tag. Words with the tag O may become any number of words.
        """
        edit = edits[SENTENCE]
        _, places = places_of(example["tokens"], example["text"])
        in_text = example["text"] is not None
        words: list[str] = []
        tags: list[str] = []
        for first, last in _groups(places, edit):
            start, end = edit.place(places[first][0], places[last][1])
            part = edit.text[start:end]
            found = [part[slice(*place)] for place in (word_places(part) if in_text else _spaced(part))]
            theirs = example["tags"][first : last + 1]
            if found and len(found) != len(theirs):
                if set(theirs) - {OUTSIDE}:
                    return None
                theirs = [OUTSIDE] * len(found)
            words += found
            tags += theirs if found else []
        if not words or (in_text and words != [edit.text[slice(*place)] for place in word_places(edit.text)]):
            return None
        return {**example, "tokens": words, "tags": tags, "text": edit.text if in_text else None}


def _groups(places: Sequence[Place], edit: Edited) -> Iterator[tuple[int, int]]:
    """The first and last number of words that are edited together; most words are on their own."""
    first = 0
    for number, (_, end) in enumerate(places):
        following = places[number + 1][0] if number + 1 < len(places) else None
        if following is None or not any(r.start < end and r.end > following for r in edit.replacements):
            yield first, number
            first = number + 1


def _spaced(text: str) -> Iterator[Place]:
    return (match.span() for match in re.finditer(r"\S+", text))
