"""Rows of tagging: words with tags by name or number, or texts with entities by their characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.corpus.words import word_places
from llmkit.system.errors import UserError
from llmkit.tasks.examples import checked_text, first_in, missing_column
from llmkit.tasks.tags.offsets import tags_of
from llmkit.tasks.tags.sections import TagData
from llmkit.tasks.values import BadRow, MissingLabel

TEXT = "text"
MARKED = ("entities", "spans", "label", "labels")  # columns of entities: spaCy, Prodigy, doccano, Label Studio


def sentence(row: Mapping[str, Any], data: TagData, tag_columns: Sequence[str], *, labelled: bool) -> dict[str, Any]:
    """A row in canonical columns, without the id. `tag_columns` may hold tags, the usual one first. Raises BadRow."""
    column = data.tokens_column or ("tokens" if _has_words(row) else TEXT)
    value = row.get(column)
    if isinstance(value, str):
        return _text(row, value, column, data, tag_columns, labelled=labelled)
    words = _list(row, column, "tokens_column", BadRow)
    if not words:
        raise BadRow(f"{column!r} is empty: a sentence without words")
    for number, word in enumerate(words, start=1):
        if not isinstance(word, str) or not word:
            raise BadRow(f"word {number} of {column!r} is empty or not text: {word!r}")
        checked_text(word, column)
    found = {"tokens": words, "tags": [], "text": None, "inexact": 0}
    if not labelled:
        return found
    tags_column = data.tags_column or first_in(row, tag_columns)
    tags = _list(row, tags_column, "tags_column", BadRow if data.tags_column is not None else MissingLabel)
    if len(tags) != len(words):
        raise BadRow(f"{len(words):,} {column!r}, but {len(tags):,} {tags_column!r}: each word needs a tag")
    names = data.tag_names or ()
    tags = [_tag(tag, names, f"tag {number} of {tags_column!r}") for number, tag in enumerate(tags, start=1)]
    return {**found, "tags": tags}


def _has_words(row: Mapping[str, Any]) -> bool:
    """Whether a row's words are given. Prodigy's `tokens` are objects beside a text, which holds all of them."""
    words = row.get("tokens")
    objects = isinstance(words, list) and words and isinstance(words[0], Mapping)
    return TEXT not in row or (words is not None and not objects)


def _text(
    row: Mapping[str, Any], text: str, column: str, data: TagData, tag_columns: Sequence[str], *, labelled: bool
) -> dict[str, Any]:
    """A text that is not split into words: they are found in it."""
    checked_text(text, column)
    words = [text[start:end] for start, end in word_places(text)]
    if not words:
        raise BadRow(f"{column!r} is empty: a text without words")
    if not labelled:
        return {"tokens": words, "tags": [], "text": text, "inexact": 0}
    marked_column = data.tags_column or first_in(row, (*MARKED, *tag_columns))
    marked = _list(row, marked_column, "tags_column", BadRow if data.tags_column is not None else MissingLabel)
    if any(isinstance(item, str | int) for item in marked):
        raise BadRow(f"{marked_column!r} holds tags of words, but {column!r} is a text: give its words as a list")
    words, tags, inexact = tags_of(text, marked, marked_column)
    return {"tokens": words, "tags": tags, "text": text, "inexact": inexact}


def _tag(tag: Any, names: Sequence[str], what: str) -> str:
    """A tag by its name. Raises BadRow, or UserError if tags are numbers without names."""
    number = int(tag) if isinstance(tag, int) or (isinstance(tag, str) and tag.isdecimal()) else None
    if number is not None:
        if not names:
            raise UserError(
                f"{what} is the number {number}, and nothing says what the numbers stand for",
                remedy="name the tags in the order of their numbers, for instance data.tag_names=[O,B-PER,I-PER]",
            )
        if not 0 <= number < len(names):
            raise BadRow(f"{what} is the number {number}, but data.tag_names has numbers 0 to {len(names) - 1}")
        tag = names[number]
    if not isinstance(tag, str) or not tag:
        raise BadRow(f"{what} is empty or not text: {tag!r}")
    if tag.split() != [tag]:
        raise BadRow(f"{what} contains white space: {tag!r}")
    return checked_text(tag, what)


def _list(row: Mapping[str, Any], name: str, option: str, missing: type[BadRow]) -> list[Any]:
    value = row.get(name)
    if value is None:
        raise missing(missing_column(row, name, option, [key for key in row if row[key] is not None]))
    if not isinstance(value, list):
        tables = "; a table holds no lists: use JSON lines, parquet or CoNLL columns" if isinstance(value, str) else ""
        raise BadRow(f"{name!r} is not a list{tables}")
    return value
