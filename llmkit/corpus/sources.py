"""Wikipedia, BookCorpus, the demo, local files, any Hub data set: each an iterator of documents.

A document is a string; one without text is skipped when shards are written. Iteration streams: nothing here grows
with the corpus.
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
# The repository's own revision is a loading script, which datasets no longer runs; the Hub keeps a
# conversion to parquet beside it.
BOOKCORPUS: dict[str, str | None] = {"path": "bookcorpus/bookcorpus", "name": None, "revision": "refs/convert/parquet"}
# A row of BookCorpus is one sentence, and nothing says where a book ends. Neighbouring sentences of a file are
# joined into documents of about 7,000 tokens: a sentence alone would give the model no context to predict from.
BOOKCORPUS_SENTENCES = 512
PART_BYTES = 2**24  # small files are read together, until they are this much
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class OpenSource:
    """A source that was found: what decides its content, and its documents.

    `size` is the number of bytes of local files, None where it is not known beforehand.
    """

    spec: Source
    content: dict[str, Any]
    size: int | None
    files: tuple[Path, ...] = ()

    def parts(self) -> list[Callable[[], Iterator[str]]]:
        """The documents in parts that are read by themselves: files. They are always the same, in the same order.

        Raises UserError for a data set that cannot be read, and while a part is read at its first bad document.
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
        """The documents of all parts."""
        for part in self.parts():
            yield from part()


def open_source(spec: Source) -> OpenSource:
    """Find a source. Raises UserError where there is none; reads files once for their fingerprint."""
    if spec.path == "demo":
        _refuse_keys(spec, {"name", "split", "revision", "text_column", "documents"}, "the demo")
        return OpenSource(spec, _demo_content(), None)
    if spec.path in ("wikipedia", "bookcorpus"):
        defaults = WIKIPEDIA if spec.path == "wikipedia" else BOOKCORPUS
        where = {
            "path": defaults["path"],
            "name": spec.name or defaults["name"],
            "revision": spec.revision or defaults.get("revision"),
        }
        opened = _on_the_hub(spec, where)
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
        return _on_the_hub(spec, {"path": spec.path, "name": spec.name, "revision": spec.revision})
    raise UserError(
        f"no such corpus: {spec.path}",
        remedy="give wikipedia, bookcorpus, demo, a .txt, .jsonl or .parquet file, a folder or glob of them, "
        "or the id of a data set on the Hub",
    )


def _refuse_keys(spec: Source, keys: set[str], what: str) -> None:
    """Raises UserError for keys that say something, and have no effect on this kind of source."""
    if given := sorted(key for key in keys if getattr(spec, key) != Source.model_fields[key].default):
        raise UserError(f"{spec.path}: {', '.join(given)} has no effect on {what}", remedy="leave it out")


def _local_files(spec: Source) -> tuple[Path, ...]:
    path = Path(spec.path).expanduser()
    if path.is_file():
        if path.suffix not in FORMATS:
            raise UserError(f"{path}: not a format that is read here", remedy=f"formats are {', '.join(FORMATS)}")
        found = [path]
    elif path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix in FORMATS and p.is_file())
        if not found:
            raise UserError(f"{path} holds no file that is read here", remedy=f"formats are {', '.join(FORMATS)}")
    else:
        found = sorted(Path(p) for p in glob(str(path), recursive=True) if p.endswith(FORMATS))  # noqa: PTH207 - of any path
    return tuple(found)


def _on_the_hub(spec: Source, where: dict[str, Any]) -> OpenSource:
    _refuse_keys(spec, {"documents"}, "a data set")
    commit = commit_of("dataset", where["path"], where["revision"])
    if commit is None:
        raise unreachable(where["path"])
    return OpenSource(spec, {**where, "split": spec.split, "text_column": spec.text_column, "commit": commit}, None)


def _hub_parts(where: dict[str, Any], spec: Source) -> list[Callable[[], Iterator[str]]]:
    from datasets import load_dataset

    with reading_from_the_hub("dataset", where["path"], where["revision"]):
        try:
            rows = load_dataset(
                where["path"], where["name"], split=spec.split, revision=where["commit"], streaming=True
            )
        except ValueError as error:  # an unknown split or configuration
            raise UserError(
                f"{where['path']}: {' '.join(str(error).splitlines()[:2])}",
                remedy=f"choose with -c {spec.path},name=…,split=…",
            ) from error
    if rows.column_names and spec.text_column not in rows.column_names:
        raise UserError(
            f"{where['path']} has no column {spec.text_column!r}; columns are {', '.join(rows.column_names)}",
            remedy=f"name the one that holds the text: -c {spec.path},text_column=…",
        )
    files = rows.num_shards
    return [partial(_hub_documents, rows.shard(files, number), where, spec) for number in range(files)]


def _hub_documents(rows: Iterable[dict[str, Any]], where: dict[str, Any], spec: Source) -> Iterator[str]:
    with reading_from_the_hub("dataset", where["path"], where["revision"]):
        texts: Iterator[str] = (_text(row[spec.text_column], where["path"], spec.text_column) for row in rows)
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
    """Lines of a UTF-8 file; a byte order mark is dropped. Raises UserError with the offending place."""
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
    part: list[str] = []
    for line in _lines(file):
        if spec.documents == "blank_line" and not line.strip():
            yield "".join(part)
            part = []
        else:
            part.append(line)
    yield "".join(part)


def _read_jsonl(file: Path, spec: Source) -> Iterator[str]:
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        row = parse_json(line, file, number)
        text = row.get(spec.text_column) if isinstance(row, dict) else None
        if not isinstance(text, str):
            what = "a JSON object" if not isinstance(row, dict) else f"a text in field {spec.text_column!r}"
            raise UserError(f"{file}:{number}: expected {what}", remedy=f"name the field: -c {spec.path},text_column=…")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{file}:{number}: \\u{ord(text[error.start]):04x} alone is half a character (a surrogate)",
                remedy="correct the line, or take it out",
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
                    remedy=f"name the one that holds the text: -c {spec.path},text_column=…",
                )
            for batch in table.iter_batches(batch_size=1024, columns=[spec.text_column]):
                for value in batch.column(0).to_pylist():
                    yield _text(value, str(file), spec.text_column)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: not readable as parquet: {error}", remedy="write or fetch the file again") from None


def _text(value: Any, place: str, column: str) -> str:
    """A cell of a text column; one that is null is empty. Raises UserError where it holds something else."""
    if value is not None and not isinstance(value, str):
        raise UserError(f"{place}: column {column!r} does not hold text", remedy="name another with text_column=…")
    return value or ""


def _demo_content() -> dict[str, Any]:
    """What decides the demo's documents: the code that makes them, and how many."""
    from llmkit.corpus.demo import data, names, wording

    code = [file_fingerprint(Path(str(module.__file__))) for module in (data, names, wording)]
    return {"demo": code, "documents": data.NUM_DOCUMENTS}
