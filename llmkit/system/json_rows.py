"""Rows of JSON: one object per line, a list, an object with a list named `data`, or objects one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from llmkit.system.errors import UserError
from llmkit.system.files import json_values, parse_json, text_lines

WORDS = "tokens"  # a column with a list in each row


def json_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) for each line of a JSON lines file: `t.jsonl:3`. Raises UserError."""
    for number, line in text_lines(file):
        if line.strip():
            yield f"{file}:{number}", parse_json(line, file, number)


def json_rows(file: Path, columns: Sequence[str], remedy: str) -> Iterator[tuple[str, Any]]:
    """Yield (place, row) for the rows of a .json file of any form; a place is a line or `t.json: data[3]`.

    `columns` are the expected ones: an object with one of them is a row. Raises UserError, for an object that holds no
    rows with `remedy`.
    """
    values = _values(file)
    first = next(values, None)
    if first is None:
        return
    line, content = first
    second = next(values, None)
    if second is not None:
        yield from ((f"{file}:{number}", value) for number, value in chain([first, second], values))
        return
    rows = content.get("data") if isinstance(content, dict) else content
    if isinstance(rows, list):
        yield from ((f"{file}: data[{number}]", row) for number, row in enumerate(rows))
    elif isinstance(content, dict) and any(name in content for name in columns) and not _is_columns(content):
        yield f"{file}:{line}", content
    else:
        raise _unknown_form(file, content, remedy)


def _values(file: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line, value): line by line while each line is a value. From the first other line on, read it all."""
    lines = text_lines(file)
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # a value of several lines, several values in a line, or broken
            rest = "\n" * (number - 1) + line + "".join(text for _, text in lines)  # so that lines are counted right
            yield from json_values(rest, file)
            return
        yield number, value


def _is_columns(content: dict[str, Any]) -> bool:
    """Whether an object holds a table's columns, each a list, or an object by row number as pandas writes it."""
    words = content.get(WORDS)
    if isinstance(words, list) and all(isinstance(word, str) for word in words):  # the words of one sentence
        return False
    return bool(content) and all(isinstance(value, list | dict) for value in content.values())


def _unknown_form(file: Path, content: Any, remedy: str) -> UserError:
    what = f"{file}: neither a list of rows nor an object with a list named 'data'"
    if isinstance(content, dict) and content:
        names = list(map(repr, content))
        what += f", but an object with {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
        if _is_columns(content):
            remedy = (
                "give rows, not columns; pandas writes them with "
                "to_json(FILE, orient='records', lines=True, force_ascii=False)"
            )
    return UserError(what, remedy=remedy)
