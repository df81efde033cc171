"""Entities by their characters, and the tags of words: one from the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from llmkit.corpus.words import word_places
from llmkit.tasks.tags.entities import OUTSIDE, TAG, Entity, Reader, entities
from llmkit.tasks.values import BadRow, Mention

Place = tuple[int, int]  # characters, the end exclusive


def places_of(words: Sequence[str], text: str | None) -> tuple[str, list[Place]]:
    """A sentence's text, and the place of each word in it. Without a text, it is the words joined by spaces."""
    if text is not None:
        return text, list(word_places(text))
    places, start = [], 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), places


def mentions(
    tags: Sequence[str], confidence: Sequence[float], words: Sequence[str], text: str | None, read: Reader
) -> Iterator[Mention]:
    """The entities that `tags` mark, in order. `confidence` is the probability of each word's tag."""
    text, places = places_of(words, text)
    if read is entities:
        tags = [tag if TAG.fullmatch(tag) else OUTSIDE for tag in tags]  # some checkpoints have tags such as [CLS]
    for found in read(tags):
        start, end = places[found.first][0], places[found.last][1]
        its = confidence[found.first : found.last + 1]
        yield Mention(found.type, text[start:end], start, end, found.first, found.last + 1, sum(its) / len(its))


def tags_of(text: str, marked: Sequence[Any], column: str) -> tuple[list[str], list[str], int]:
    """The words of a text, their tags in IOB2, and how many entities begin or end inside a word.

    The latter become whole words. `marked` are entities in one of these forms:

        {"start": 0, "end": 9, "label": "PER"}      spaCy, Label Studio (a list in `labels`), our predictions (`type`)
        {"start_offset": 0, "end_offset": 9, …}     doccano
        [0, 9, "PER"]                               spaCy, doccano

    Raises BadRow for an entity that is not in the text, and for entities that overlap.
    """
    places = list(word_places(text))
    tags, inside = [OUTSIDE] * len(places), 0
    found = set()
    for number, item in enumerate(marked, start=1):
        start, end, label = _entity(item, text, f"entity {number} of {column!r}")
        numbers = [n for n, (first, last) in enumerate(places) if first < end and last > start]
        found.add(Entity(label, numbers[0], numbers[-1]))
        inside += (places[numbers[0]][0], places[numbers[-1]][1]) != (start, end)
    ordered = sorted(found, key=lambda entity: entity.first)
    for before, after in pairwise(ordered):
        if after.first <= before.last:
            raise BadRow(
                f"{column!r}: a {before.type} and a {after.type} share the word "
                f"{text[slice(*places[after.first])]!r}, but a word has one tag: keep one of them"
            )
    for entity in ordered:
        tags[entity.first] = f"B-{entity.type}"
        tags[entity.first + 1 : entity.last + 1] = [f"I-{entity.type}"] * (entity.last - entity.first)
    return [text[start:end] for start, end in places], tags, inside


def _entity(item: Any, text: str, what: str) -> tuple[int, int, str]:
    """Start, end and label, without white space at the ends. A space in a label becomes "_", since tags have none."""
    quoted = None
    if isinstance(item, Mapping):
        start, end = (item.get(key, item.get(f"{key}_offset")) for key in ("start", "end"))
        label = item.get("label", item.get("type", item.get("labels")))
        quoted = item.get("text")
    elif isinstance(item, list | tuple) and len(item) == 3:
        start, end, label = item
    else:
        raise BadRow(f'{what} is neither {{"start": …, "end": …, "label": …}} nor [start, end, label]')
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if not isinstance(label, str) or not label.strip():
        raise BadRow(f"{what} has no label")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
        raise BadRow(f"{what} is from {start!r} to {end!r}, but the text has {len(text):,} characters")
    inner = text[start:end]
    if not inner.strip():
        raise BadRow(f"{what} holds no word")
    if isinstance(quoted, str) and quoted.split() != inner.split():
        raise BadRow(f"{what} is {quoted!r}, but characters {start} to {end} of the text are {inner!r}")
    start += len(inner) - len(inner.lstrip())
    return start, start + len(inner.strip()), "_".join(label.split())
