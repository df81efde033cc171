"""Rows of JSON: one object per line, a list, an object with a list named `data`, or objects one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmkit.system.errors import UserError
from llmkit.system.files import json_values, parse_json, read_text, text_lines
from llmkit.tasks.values import LocatedRow


def json_lines(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """One row per line."""
    for number, line in text_lines(file):
        if line.strip():
            yield f"{file}:{number}", parse_json(line, file, number)


def json_rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """The rows of a JSON file, which is read whole. `columns` are the expected ones."""
    values = list(json_values(read_text(file), file))
    if len(values) != 1:  # JSON lines, or objects of several lines
        yield from ((f"{file}:{line}", value) for line, value in values)
        return
    (_, content) = values[0]
    rows = content.get("data") if isinstance(content, dict) else content
    if isinstance(rows, list):
        yield from ((f"{file}: data[{number}]", row) for number, row in enumerate(rows))
    elif _is_row(content, columns):
        yield f"{file}:1", content
    else:
        raise _unknown_form(file, content, columns)


def _is_row(content: Any, columns: Sequence[str]) -> bool:
    return isinstance(content, dict) and any(name in content for name in columns) and not _is_columns(content)


def _is_columns(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(value, list | dict) for value in content.values())


def _unknown_form(file: Path, content: Any, columns: Sequence[str]) -> UserError:
    what = f"{file}: neither a list of rows nor an object with a list named 'data'"
    if isinstance(content, dict) and content:
        names = list(map(repr, content))
        what += f", but an object with {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
    if _is_columns(content):
        return UserError(
            what,
            remedy="give rows, not columns; pandas writes them with "
            "to_json(FILE, orient='records', lines=True, force_ascii=False)",
        )
    return UserError(what, remedy=f"give rows with {', '.join(columns)}; JSON lines, one row per line, work too")
