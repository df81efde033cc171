"""The formats of files of rows, by the end of the file's name in upper or lower case."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from llmkit.system.errors import UserError
from llmkit.system.files import beginning
from llmkit.system.tables import table_rows
from llmkit.tasks.rows.json_forms import json_lines, json_rows
from llmkit.tasks.rows.parquet import parquet_rows
from llmkit.tasks.rows.saved import saved_rows
from llmkit.tasks.tags.conll import sentences
from llmkit.tasks.values import LocatedRow

Reader = Callable[[Path, Sequence[str]], Iterator[LocatedRow]]
ENDINGS = ".jsonl, .json, .csv, .tsv, .parquet or .conll"  # for messages: the usual ones

_TEXT: Mapping[str, Reader] = {
    ".json": json_rows,
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".csv": lambda file, columns: table_rows(file, ","),
    ".tsv": lambda file, columns: table_rows(file, "\t"),
    # CoNLL-2003 consists of eng.train, eng.testa and eng.testb.
    **dict.fromkeys((".conll", ".conllu", ".bio", ".iob2", ".train", ".testa", ".testb", ".txt"), sentences),
}
_FORMATS: Mapping[str, Reader] = {
    ".parquet": parquet_rows,
    **_TEXT,
    **{f"{ending}.gz": reader for ending, reader in _TEXT.items()},
}


def format_of(name: str) -> str:
    """The end of a file's name that says its format; empty if it says none."""
    return next((ending for ending in _FORMATS if name.lower().endswith(ending)), "")


def file_rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """The rows of a file, or of a saved dataset. `columns` are the expected ones, for messages.

    A file whose name says no format is read if it is JSON. Raises UserError if the file cannot be read.
    """
    if file.is_dir():
        return saved_rows(file)
    ending = format_of(file.name)
    if ending:
        return _FORMATS[ending](file, columns)
    if beginning(file, 1024).removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in (b"{", b"["):
        raise UserError(
            f"{file}: the end of its name says no known format", remedy=f"give a file that ends in {ENDINGS}"
        )
    return json_rows(file, columns)
