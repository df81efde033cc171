"""Read the documents of a text file, whatever its format. Errors name the file and the line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from llmkit.corpus.folders import COMPRESSED, format_of
from llmkit.recipes.pretraining import Source
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, text_lines
from llmkit.system.tables import table_rows

Reader = Callable[[Path, Source], Iterator[str]]


def is_readable(file: Path) -> bool:
    """Whether a file's name says that it has a format which can be read here."""
    kind = format_of(file)
    return kind in READERS and not (kind == ".parquet" and file.name.endswith(COMPRESSED))


def is_compressed(file: Path) -> bool:
    """Whether a file is smaller than its text."""
    return format_of(file) == ".parquet" or file.name.endswith(COMPRESSED)


def documents_of(file: Path, spec: Source) -> Iterator[str]:
    """Yield the documents of a file, some of them empty. Raises UserError at the first one that cannot be read."""
    return READERS[format_of(file)](file, spec)


def text_of(value: Any, place: str) -> str:
    """The text of a cell; null becomes the empty string. Raises UserError if the cell has another type."""
    if value is not None and not isinstance(value, str):
        raise UserError(f"{place} does not hold text", remedy="name another column with text_column=…")
    return value or ""


def no_column(where: str, columns: list[str], spec: Source) -> UserError:
    """The error for data without the text column."""
    return UserError(
        f"{where} has no column {spec.text_column!r}; columns are {', '.join(columns)}",
        remedy=f"name the text column: -c {spec.path},text_column=…",
    )


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
    for number, line in text_lines(file):
        if line.strip():
            yield _text_of_row(parse_json(line, file, number), f"{file}:{number}", spec)


def _json(file: Path, spec: Source) -> Iterator[str]:
    """A list of rows, an object with such a list named `data`, or JSON lines, which are read line by line."""
    first = next((line for _, line in text_lines(file) if line.strip()), "")
    with suppress(ValueError):  # the first line of a file that is written over several lines
        row = json.loads(first)
        if isinstance(row, dict) and not isinstance(row.get("data"), list):
            yield from _json_lines(file, spec)
            return
    content = parse_json("".join(line for _, line in text_lines(file)) or "[]", file)
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise UserError(
            f"{file}: neither a list of rows nor JSON lines",
            remedy=f"give rows with a field {spec.text_column!r}, one per line; or leave the file out with a glob: "
            f"-c '{file.parent}/*.txt'",
        )
    for number, row in enumerate(rows):
        yield _text_of_row(row, f"{file}: row {number}", spec)


def _text_of_row(row: Any, place: str, spec: Source) -> str:
    text = row.get(spec.text_column) if isinstance(row, dict) else None
    if not isinstance(text, str):
        what = "a JSON object" if not isinstance(row, dict) else f"a string in field {spec.text_column!r}"
        raise UserError(f"{place}: expected {what}", remedy=f"name the text field: -c {spec.path},text_column=…")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place}: \\u{ord(text[error.start]):04x} is an unpaired surrogate, half a character",
            remedy="correct or remove the line",
        ) from None
    return text


def _table(file: Path, spec: Source, *, separator: str) -> Iterator[str]:
    for _, row in table_rows(file, separator):
        if spec.text_column not in row:
            raise no_column(str(file), list(row), spec)
        yield row[spec.text_column]


def _parquet(file: Path, spec: Source) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            if spec.text_column not in table.schema_arrow.names:
                raise no_column(str(file), table.schema_arrow.names, spec)
            for batch in table.iter_batches(batch_size=1024, columns=[spec.text_column]):
                for value in batch.column(0).to_pylist():
                    yield text_of(value, f"{file}: column {spec.text_column!r}")
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{file}: not readable as parquet: {error}", remedy="write or download the file again"
        ) from None


READERS: dict[str, Reader] = {
    ".txt": _plain_text,
    ".md": _plain_text,
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": partial(_table, separator=","),
    ".tsv": partial(_table, separator="\t"),
    ".parquet": _parquet,
}
PLAIN = (".txt", ".md")  # files without columns
