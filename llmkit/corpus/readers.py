"""Read the documents of a text file, whatever its format. Errors name the file and the line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from llmkit.recipes.corpus import Source
from llmkit.system.errors import UserError
from llmkit.system.files import text_lines
from llmkit.system.formats import compression_of, format_of, is_in
from llmkit.system.json_rows import json_lines, json_rows
from llmkit.system.parquet import reading_parquet
from llmkit.system.tables import table_rows

Reader = Callable[[Path, Source], Iterator[str]]


def is_readable(file: Path) -> bool:
    """Whether a file's name says that it has a format which can be read here."""
    return is_in(file.name, READERS)


def is_compressed(file: Path) -> bool:
    """Whether a file is smaller than its text."""
    return format_of(file.name) == ".parquet" or bool(compression_of(file.name))


def documents_of(file: Path, spec: Source) -> Iterator[str]:
    """Yield the documents of a file, some of them empty. Raises UserError at the first one that cannot be read."""
    return READERS[format_of(file.name)](file, spec)


def text_of(value: Any, where: str, spec: Source) -> str:
    """The text of a cell; null becomes the empty string. Raises UserError if the cell has another type."""
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}: column {spec.text_column!r} does not hold text", remedy=_name_the_column(spec))
    return value or ""


def no_column(where: str, columns: list[str], spec: Source) -> UserError:
    """The error for data without the text column."""
    return UserError(
        f"{where} has no column {spec.text_column!r}; columns are {', '.join(columns)}",
        remedy=_name_the_column(spec),
    )


def _name_the_column(spec: Source) -> str:
    return f"name the text column: -c {spec.path},text_column=…"


def split_of(file: Path) -> Literal["file", "blank_line", "line"]:
    """How a text file that is a whole corpus is split: at its blank lines, or else into its lines."""
    lines, blank = 0, False
    for _, line in text_lines(file):
        if not line.strip():
            blank = lines > 0
        elif blank:
            return "blank_line"
        else:
            lines += 1
    return "line" if lines > 1 else "file"


def _plain_text(file: Path, spec: Source) -> Iterator[str]:
    document: list[str] = []
    for _, line in text_lines(file):
        if spec.documents == "line":
            yield line
        elif spec.documents == "blank_line" and not line.strip():
            yield "".join(document)
            document = []
        else:
            document.append(line)
    yield "".join(document)


def _json_lines(file: Path, spec: Source) -> Iterator[str]:
    return _texts(json_lines(file), spec)


def _json(file: Path, spec: Source) -> Iterator[str]:
    return _texts(json_rows(file, [spec.text_column], _name_the_column(spec)), spec)


def _texts(rows: Iterable[tuple[str, Any]], spec: Source) -> Iterator[str]:
    """The texts of JSON's rows."""
    for place, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{place}: expected a JSON object", remedy=f"give objects with {spec.text_column!r}")
        if spec.text_column not in row:
            raise no_column(place, list(row), spec)
        text = text_of(row[spec.text_column], place, spec)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{place}: \\u{ord(text[error.start]):04x} is an unpaired surrogate, half a character",
                remedy="correct or remove the line",
            ) from None
        yield text


def _table(file: Path, spec: Source, *, separator: str) -> Iterator[str]:
    for _, row in table_rows(file, separator):
        if spec.text_column not in row:
            raise no_column(str(file), list(row), spec)
        yield row[spec.text_column]


def _parquet(file: Path, spec: Source) -> Iterator[str]:
    import pyarrow.parquet as pq

    with reading_parquet(file), pq.ParquetFile(file) as table:
        if spec.text_column not in table.schema_arrow.names:
            raise no_column(str(file), table.schema_arrow.names, spec)
        for batch in table.iter_batches(batch_size=1024, columns=[spec.text_column]):
            for value in batch.column(0).to_pylist():
                yield text_of(value, str(file), spec)


READERS: dict[str, Reader] = {
    ".txt": _plain_text,
    ".md": _plain_text,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": partial(_table, separator=","),
    ".tsv": partial(_table, separator="\t"),
    ".parquet": _parquet,
}
PLAIN = (".txt", ".md")  # files without columns
