"""Rows of tables: .csv and .tsv files. The first line names the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmkit.system.errors import UserError
from llmkit.system.table_layout import layout_of, records


def table_rows(file: Path, separator: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (place, row) for the rows of a table, dictionaries of text; a row's place is its first line: `t.csv:3`.

    `separator` is the usual one of the file's format: see table_layout.py. Columns without a name are left out. Raises
    UserError with the line.
    """
    layout = layout_of(file, separator)
    header: list[str] | None = None
    for line, fields in records(file, layout):
        if header is None:
            header = [name.strip() for name in fields]
            check_names(header, f"{file}:{line}")
        elif len(fields) != len(header):
            raise UserError(
                f"{file}:{line}: the number of fields differs from the header's: {len(fields)}, not {len(header)}",
                remedy="correct the line, or its quotation marks: a field that contains "
                f"{layout.separator_name} needs them",
            )
        else:
            yield f"{file}:{line}", {name: value for name, value in zip(header, fields, strict=True) if name}


def check_names(names: Sequence[str], place: str) -> None:
    """Raises UserError if two columns have the same name."""
    twice = [name for name, number in Counter(names).items() if number > 1 and name]
    if twice:
        raise UserError(f"{place}: two columns are named {twice[0]!r}", remedy="rename or remove one of them")
