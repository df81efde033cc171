"""The formats of files of rows."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from llmkit.system.errors import UserError
from llmkit.system.files import beginning
from llmkit.system.formats import format_of, is_in
from llmkit.system.json_rows import WORDS, json_lines, json_rows
from llmkit.system.tables import table_rows
from llmkit.tasks.rows.conll import sentences
from llmkit.tasks.rows.parquet import parquet_rows
from llmkit.tasks.rows.saved import saved_rows
from llmkit.tasks.values import LocatedRow

Reader = Callable[[Path, Sequence[str]], Iterator[LocatedRow]]
ENDINGS = ".jsonl, .json, .csv, .tsv, .parquet or .conll"  # for messages: the usual ones


def _json(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    remedy = f"give rows with {', '.join(columns)}; JSON lines, one row per line, work too"
    return json_rows(file, columns, remedy)


def _conll(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    if columns and columns[0] != WORDS:
        raise UserError(
            f"{file}: a {format_of(file.name)} file holds words and their tags, but this task reads "
            f"{', '.join(columns)}",
            remedy="give rows in a file that ends in .jsonl, .json, .csv, .tsv or .parquet",
        )
    return sentences(file)


_READERS: Mapping[str, Reader] = {
    ".parquet": parquet_rows,
    ".json": _json,
    ".jsonl": lambda file, columns: json_lines(file),
    ".ndjson": lambda file, columns: json_lines(file),
    ".csv": lambda file, columns: table_rows(file, ","),
    ".tsv": lambda file, columns: table_rows(file, "\t"),
    # CoNLL-2003 consists of eng.train, eng.testa and eng.testb.
    **dict.fromkeys((".conll", ".conllu", ".bio", ".iob2", ".train", ".testa", ".testb", ".txt"), _conll),
}


def holds_rows(name: str) -> bool:
    """Whether a file's name says a format of rows."""
    return is_in(name, _READERS)


def file_rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """The rows of a file, or of a saved dataset. `columns` are the expected ones, for messages.

    A file whose name says no format is read if it is JSON. Raises UserError if the file cannot be read.
    """
    if file.is_dir():
        return saved_rows(file)
    if holds_rows(file.name):
        return _READERS[format_of(file.name)](file, columns)
    if beginning(file, 1024).removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in (b"{", b"["):
        raise UserError(
            f"{file}: the end of its name says no known format", remedy=f"give a file that ends in {ENDINGS}"
        )
    return _json(file, columns)
