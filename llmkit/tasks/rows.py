"""Read the rows of a split: from the Hub, a file (JSON lines, JSON, CSV, TSV, parquet, CoNLL), or the demo."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError, did_you_mean
from llmkit.system.files import parse_json, read_text, text_lines
from llmkit.system.hub import reading_from_the_hub
from llmkit.tasks.tags.conll import sentences
from llmkit.tasks.values import LocatedRow

if TYPE_CHECKING:
    from llmkit.recipes.finetuning import DataSection

SPLITS = ("train", "validation", "test")
_SPELLINGS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
DEMO = "demo"  # the place of the demo's rows, which also have the column `second_candidate`


def rows_of(data: DataSection, split: str, part: str, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """The rows of `part`, one of the dataset's splits that make up `split` (see Task.splits).

    Raises UserError if the split or file is missing or unreadable.
    """
    if data.path == "demo":
        return _demo_rows(split)
    file = split_file(data, split, part)
    if file is not None:
        return file_rows(file, columns)
    if data.path is None:
        raise UserError(f"no {split} data is given", remedy=f"name a file: data.{split}=PATH")
    return _hub_rows(data, part)


def split_file(data: DataSection, split: str, part: str) -> Path | None:
    """The local file of a part of a split; None if the data is on the Hub. Raises UserError if there is no file."""
    if split not in SPLITS and (data.path is None or Path(data.path).is_dir()):
        raise UserError(
            f"local data has no split {split!r}{did_you_mean(split, SPLITS)}",
            remedy=f"its splits are {', '.join(SPLITS)}",
        )
    if data.path is None:
        name = getattr(data, split)
        if name is None:
            return None
        if not Path(name).is_file():
            raise UserError(f"data.{split}: no such file: {name}", remedy="check the path")
        return Path(name)
    folder = Path(data.path)
    if folder.is_file():
        return folder
    if not folder.is_dir():
        if data.path.endswith(tuple(FORMATS)) or data.path.startswith((".", "/", "~")):
            raise UserError(f"data.path: no such file or folder: {data.path}", remedy="check the path")
        return None
    spellings = tuple(spelling + part.removeprefix(split) for spelling in _SPELLINGS[split])
    named = [file for file in sorted(folder.iterdir()) if file.name.startswith(spellings) and _format(file)]
    # Beside a file of another format, a .txt file is a note. On its own it is CoNLL data.
    found = [file for file in named if file.suffix != ".txt"] or named
    if len(found) != 1:
        what = f"{len(found)} files: {', '.join(f.name for f in found)}" if found else "no file"
        raise UserError(f"{folder} holds {what} for the split {part}", remedy=f"name one: data.{split}=PATH")
    return found[0]


def file_rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """The rows of a file. `columns` are the expected ones, for the error message if it is not a list of rows."""
    return FORMATS.get(_format(file), _json_rows)(file, columns)


def _format(file: Path) -> str:
    """The file name's ending among FORMATS; empty if there is none."""
    return next((ending for ending in FORMATS if file.name.endswith(ending)), "")


def _demo_rows(split: str) -> Iterator[LocatedRow]:
    from llmkit.corpus.demo.data import questions

    if split not in ("train", "validation"):
        raise UserError(f"the demo has no split {split!r}", remedy="its splits are train and validation")
    return ((DEMO, row) for row in questions("train" if split == "train" else "validation"))


def _hub_rows(data: DataSection, split: str) -> Iterator[LocatedRow]:
    from datasets import ClassLabel, List, load_dataset

    assert data.path is not None
    try:
        with reading_from_the_hub("dataset", data.path, data.revision):
            # The Hub's parquet conversion has a folder for each configuration, and no README.md that names them.
            converted = data.revision == "refs/convert/parquet"
            part = {"data_dir": data.name} if converted else {"name": data.name}
            rows = load_dataset(data.path, split=split, revision=data.revision, **part)
    except ValueError as error:  # an unknown split or configuration
        remedy = "name another with --split or data.name"
        if split == "train":
            remedy = (
                "name another with data.name, or fine-tune on other data and score the run on this: llmkit eval RUN"
            )
        raise UserError(f"{data.path}: {str(error).splitlines()[0]}", remedy=remedy) from error

    def with_names(kind: Any, value: Any) -> Any:
        """Replace label numbers by names. On the Hub, -1 marks a withheld label."""
        if isinstance(kind, List) and isinstance(kind.feature, ClassLabel):
            return [with_names(kind.feature, number) for number in value]
        if isinstance(kind, ClassLabel) and value is not None:
            return kind.int2str(value) if value >= 0 else None
        return value

    kinds = rows.features
    return (
        (f"{data.path} [{split}] row {number}", {name: with_names(kinds[name], value) for name, value in row.items()})
        for number, row in enumerate(rows)
    )


def _json_lines(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    for number, line in text_lines(file):
        if line.strip():
            yield f"{file}:{number}", parse_json(line, file, number)


def _json_rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    content = parse_json(read_text(file), file)
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise UserError(
            f"{file}: neither a list of rows nor an object with a list named 'data'",
            remedy=f"give rows with {', '.join(columns)}; JSON lines, one row per line, work too",
        )
    yield from ((f"{file}: data[{number}]", row) for number, row in enumerate(rows))


def _table(separator: str) -> Callable[[Path, Sequence[str]], Iterator[LocatedRow]]:
    def rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
        csv.field_size_limit(2**31 - 1)  # passages may exceed the default of 131,072 characters
        # GLUE's .tsv files quote nothing, and contain unpaired quotation marks.
        reader: csv.DictReader[str] = csv.DictReader(
            (line for _, line in text_lines(file)),
            delimiter=separator,
            quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
        )
        try:
            for row in reader:
                if None in list(row) or None in row.values():
                    raise csv.Error("the number of fields differs from the header's")
                yield f"{file}:{reader.line_num}", row
        except csv.Error as error:
            raise UserError(
                f"{file}:{reader.line_num}: {error}", remedy="correct the line, or its quotation marks"
            ) from None

    return rows


def _parquet_rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        number = 0
        for batch in table.iter_batches(1000):
            for row in batch.to_pylist():
                yield f"{file} row {number}", row
                number += 1
    except pa.ArrowInvalid as error:
        raise UserError(f"{file}: not readable as parquet: {error}", remedy="download it again") from None


FORMATS: Mapping[str, Callable[[Path, Sequence[str]], Iterator[LocatedRow]]] = {
    ".json": _json_rows,
    ".jsonl": _json_lines,
    ".jsonl.gz": _json_lines,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet_rows,
    # CoNLL-2003 consists of eng.train, eng.testa and eng.testb.
    **dict.fromkeys((".conll", ".bio", ".iob2", ".train", ".testa", ".testb", ".txt"), sentences),
}
