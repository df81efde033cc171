"""Sources of documents: Wikipedia, BookCorpus, the demo, local files, and any dataset on the Hub.

A document is a string. Documents without text are skipped when chunks are written. Sources are streamed, so memory does
not grow with the corpus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

from llmkit.recipes.pretraining import Source
from llmkit.system.cache import file_fingerprint
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json
from llmkit.system.hub import commit_of, reading_from_the_hub, unreachable

FORMATS = (".txt", ".jsonl", ".parquet")
WIKIPEDIA: dict[str, str | None] = {"path": "wikimedia/wikipedia", "name": "20231101.en"}
# The main revision has a loading script, which datasets no longer runs. The Hub keeps a Parquet conversion.
BOOKCORPUS: dict[str, str | None] = {"path": "bookcorpus/bookcorpus", "name": None, "revision": "refs/convert/parquet"}
# A row of BookCorpus is one sentence, and nothing marks the end of a book. Consecutive sentences of a file are joined
# into documents of about 7,000 tokens, because a single sentence gives the model too little context.
BOOKCORPUS_SENTENCES = 512
PART_BYTES = 2**24  # small files are grouped into parts of at least this size
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class OpenSource:
    """A source that exists.

    `content` identifies its documents, by fingerprints of local files or the commit of a dataset. `size` is that of
    local files, in bytes; None for other sources.
    """

    spec: Source
    content: dict[str, Any]
    size: int | None
    files: tuple[Path, ...] = ()

    def parts(self) -> list[Callable[[], Iterator[str]]]:
        """The documents in parts that can be read separately (files): always the same parts, in the same order.

        Raises UserError for a dataset that cannot be read. Reading a part raises UserError at its first bad document.
        """
        if self.spec.path == "demo":
            from llmkit.corpus.demo.data import documents

            return [documents]
        if not self.files:
            return _hub_parts(self.content, self.spec)
        groups: list[list[Path]] = []
        size = PART_BYTES
        for file in self.files:
            if size >= PART_BYTES:
                groups.append([])
                size = 0
            groups[-1].append(file)
            size += file.stat().st_size
        return [partial(_read_all, group, self.spec) for group in groups]

    def documents(self) -> Iterator[str]:
        """Yield the documents of all parts."""
        for part in self.parts():
            yield from part()


def open_source(spec: Source) -> OpenSource:
    """Find a source. Reads local files once, for their fingerprints.

    Raises UserError if the source does not exist, or if it ignores one of the given keys.
    """
    if spec.path == "demo":
        _refuse_keys(spec, {"name", "split", "revision", "text_column", "documents"}, "the demo")
        return OpenSource(spec, _demo_content(), None)
    if spec.path in ("wikipedia", "bookcorpus"):
        defaults = WIKIPEDIA if spec.path == "wikipedia" else BOOKCORPUS
        dataset = {
            "path": defaults["path"],
            "name": spec.name or defaults["name"],
            "revision": spec.revision or defaults.get("revision"),
        }
        opened = _open_dataset(spec, dataset)
        if spec.path == "bookcorpus":
            opened.content["sentences"] = BOOKCORPUS_SENTENCES
        return opened
    files = _local_files(spec)
    if files:
        kinds = {file.suffix for file in files}
        _refuse_keys(spec, {"name", "split", "revision"}, "files")
        if ".txt" not in kinds:
            _refuse_keys(spec, {"documents"}, f"{', '.join(sorted(kinds))} files")
        if kinds == {".txt"}:
            _refuse_keys(spec, {"text_column"}, ".txt files")
        content = {
            "files": [[file.name, file_fingerprint(file)] for file in files],
            "text_column": spec.text_column,
        }
        return OpenSource(spec, content, sum(file.stat().st_size for file in files), files)
    if _HUB_ID.fullmatch(spec.path) and not spec.path.endswith(FORMATS):
        return _open_dataset(spec, {"path": spec.path, "name": spec.name, "revision": spec.revision})
    raise UserError(
        f"no such corpus: {spec.path}",
        remedy="give wikipedia, bookcorpus, demo, a .txt, .jsonl or .parquet file, a folder or glob of them, "
        "or the id of a dataset on the Hub",
    )


def _refuse_keys(spec: Source, keys: set[str], what: str) -> None:
    """Raises UserError for keys that are set but have no effect on this kind of source."""
    if given := sorted(key for key in keys if getattr(spec, key) != Source.model_fields[key].default):
        raise UserError(f"{spec.path}: {', '.join(given)} has no effect on {what}", remedy="leave it out")


def _local_files(spec: Source) -> tuple[Path, ...]:
    path = Path(spec.path).expanduser()
    if path.is_file():
        if path.suffix not in FORMATS:
            raise UserError(f"{path}: unsupported format", remedy=f"give one of {', '.join(FORMATS)}")
        found = [path]
    elif path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix in FORMATS and p.is_file())
        if not found:
            raise UserError(
                f"{path} contains no file in a supported format", remedy=f"give one of {', '.join(FORMATS)}"
            )
    else:
        found = sorted(Path(p) for p in glob(str(path), recursive=True) if p.endswith(FORMATS))  # noqa: PTH207 - of any path
    return tuple(found)


def _open_dataset(spec: Source, dataset: dict[str, Any]) -> OpenSource:
    _refuse_keys(spec, {"documents"}, "a dataset")
    commit = commit_of("dataset", dataset["path"], dataset["revision"])
    if commit is None:
        raise unreachable(dataset["path"])
    return OpenSource(spec, {**dataset, "split": spec.split, "text_column": spec.text_column, "commit": commit}, None)


def _hub_parts(dataset: dict[str, Any], spec: Source) -> list[Callable[[], Iterator[str]]]:
    from datasets import load_dataset

    with reading_from_the_hub("dataset", dataset["path"], dataset["revision"]):
        try:
            rows = load_dataset(
                dataset["path"], dataset["name"], split=spec.split, revision=dataset["commit"], streaming=True
            )
        except ValueError as error:  # an unknown split or configuration
            raise UserError(
                f"{dataset['path']}: {' '.join(str(error).splitlines()[:2])}",
                remedy=f"choose with -c {spec.path},name=…,split=…",
            ) from error
    if rows.column_names and spec.text_column not in rows.column_names:
        raise UserError(
            f"{dataset['path']} has no column {spec.text_column!r}; columns are {', '.join(rows.column_names)}",
            remedy=f"name the text column: -c {spec.path},text_column=…",
        )
    shards = rows.num_shards
    return [partial(_hub_documents, rows.shard(shards, number), dataset, spec) for number in range(shards)]


def _hub_documents(rows: Iterable[dict[str, Any]], dataset: dict[str, Any], spec: Source) -> Iterator[str]:
    with reading_from_the_hub("dataset", dataset["path"], dataset["revision"]):
        texts: Iterator[str] = (_text(row[spec.text_column], dataset["path"], spec.text_column) for row in rows)
        yield from _joined(texts, BOOKCORPUS_SENTENCES) if spec.path == "bookcorpus" else texts


def _joined(sentences: Iterable[str], size: int) -> Iterator[str]:
    sentences = iter(sentences)
    while group := list(islice(sentences, size)):
        yield " ".join(group)


def _read_all(files: Iterable[Path], spec: Source) -> Iterator[str]:
    for file in files:
        yield from _read(file, spec)


def _read(file: Path, spec: Source) -> Iterator[str]:
    if file.suffix == ".parquet":
        return _read_parquet(file, spec)
    if file.suffix == ".jsonl":
        return _read_jsonl(file, spec)
    return _read_txt(file, spec)


def _lines(file: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file without its byte order mark. Raises UserError with the file and line."""
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{file}:{number}: not UTF-8 text (byte {error.start + 1} of the line)",
                    remedy="convert the file to UTF-8, for instance with iconv",
                ) from None


def _read_txt(file: Path, spec: Source) -> Iterator[str]:
    document: list[str] = []
    for line in _lines(file):
        if spec.documents == "blank_line" and not line.strip():
            yield "".join(document)
            document = []
        else:
            document.append(line)
    yield "".join(document)


def _read_jsonl(file: Path, spec: Source) -> Iterator[str]:
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        row = parse_json(line, file, number)
        text = row.get(spec.text_column) if isinstance(row, dict) else None
        if not isinstance(text, str):
            what = "a JSON object" if not isinstance(row, dict) else f"a string in field {spec.text_column!r}"
            raise UserError(
                f"{file}:{number}: expected {what}", remedy=f"name the text field: -c {spec.path},text_column=…"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{file}:{number}: \\u{ord(text[error.start]):04x} is an unpaired surrogate, half a character",
                remedy="correct or remove the line",
            ) from None
        yield text


def _read_parquet(file: Path, spec: Source) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            if spec.text_column not in table.schema_arrow.names:
                raise UserError(
                    f"{file} has no column {spec.text_column!r}; columns are {', '.join(table.schema_arrow.names)}",
                    remedy=f"name the text column: -c {spec.path},text_column=…",
                )
            for batch in table.iter_batches(batch_size=1024, columns=[spec.text_column]):
                for value in batch.column(0).to_pylist():
                    yield _text(value, str(file), spec.text_column)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{file}: not readable as parquet: {error}", remedy="write or download the file again"
        ) from None


def _text(value: Any, source: str, column: str) -> str:
    """The text of a cell; null becomes the empty string. Raises UserError if the cell has another type."""
    if value is not None and not isinstance(value, str):
        raise UserError(
            f"{source}: column {column!r} does not hold text", remedy="name another column with text_column=…"
        )
    return value or ""


def _demo_content() -> dict[str, Any]:
    """What determines the demo's documents: the code that generates them, and their number."""
    from llmkit.corpus.demo import data, names, wording

    code = [file_fingerprint(Path(str(module.__file__))) for module in (data, names, wording)]
    return {"demo": code, "documents": data.NUM_DOCUMENTS}
