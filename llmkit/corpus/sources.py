"""Sources of documents: Wikipedia and others by name, the demo, files here or elsewhere, any dataset on the Hub.

A document is a string. Documents without text are skipped when chunks are written. Sources are streamed, so memory does
not grow with the corpus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

from llmkit.corpus.folders import files_in, kind_of, kind_of_name, tell_passed_over
from llmkit.corpus.readers import PLAIN, READERS, documents_of, is_compressed, is_readable, no_column, split_of, text_of
from llmkit.recipes.corpus import Source
from llmkit.system.cache import file_fingerprint
from llmkit.system.console import say
from llmkit.system.cores import cores
from llmkit.system.errors import UserError
from llmkit.system.formats import COMPRESSED, format_of, is_in
from llmkit.system.hub import commit_of, reading_from_the_hub, unreachable
from llmkit.system.remote import downloaded, found_at, is_url

# Datasets with a name of their own: path, configuration, revision.
NAMED: dict[str, tuple[str, str | None, str | None]] = {
    "wikipedia": ("wikimedia/wikipedia", "20231101.en", None),
    # The main revision has a loading script, which datasets no longer runs. The Hub keeps a Parquet conversion.
    "bookcorpus": ("bookcorpus/bookcorpus", None, "refs/convert/parquet"),
    "fineweb-edu": ("HuggingFaceFW/fineweb-edu", "sample-10BT", None),
    "c4": ("allenai/c4", "en", None),
}
# A row of BookCorpus is one sentence, and nothing marks the end of a book. Consecutive sentences of a file are joined
# into documents of about 7,000 tokens, because a single sentence gives the model too little context.
BOOKCORPUS_SENTENCES = 512
FORMATS = f"give one of {', '.join(READERS)}; all but .parquet may be compressed ({', '.join(COMPRESSED)})"
PART_BYTES = 2**24  # small files are grouped into parts of at least this size
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class OpenSource:
    """A source that exists.

    `content` identifies its documents, by fingerprints of local files or the commit of a dataset. `size` is that of the
    text in local files, in bytes; None if it isn't known.
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
        return [partial(_documents_of_all, group, self.spec) for group in groups]

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
    if spec.path in NAMED:
        path, name, revision = NAMED[spec.path]
        dataset = {"path": path, "name": spec.name or name, "revision": spec.revision or revision}
        opened = _open_dataset(spec, dataset)
        if spec.path == "bookcorpus":
            opened.content["sentences"] = BOOKCORPUS_SENTENCES
        return opened
    files = _remote_files(spec) if is_url(spec.path) else _local_files(spec)
    if files:
        kinds = {format_of(file.name) for file in files}
        named = f"{', '.join(sorted(kinds))} files"
        _refuse_keys(spec, {"name", "split", "revision"}, "files")
        if kinds.isdisjoint(PLAIN):
            _refuse_keys(spec, {"documents"}, named)
        if kinds <= set(PLAIN):
            _refuse_keys(spec, {"text_column"}, named)
        spec = _with_split(spec, files)
        content = {
            "files": [[file.name, found] for file, found in zip(files, _fingerprints(files), strict=True)],
            "text_column": spec.text_column,
        }
        size = None if any(is_compressed(file) for file in files) else sum(file.stat().st_size for file in files)
        return OpenSource(spec, content, size, files)
    if _HUB_ID.fullmatch(spec.path) and not is_readable(Path(spec.path)):
        return _open_dataset(spec, {"path": spec.path, "name": spec.name, "revision": spec.revision})
    raise UserError(
        f"no such corpus: {spec.path}",
        remedy=f"give {', '.join(NAMED)}, demo, a file, a folder or glob of files, a URL of these, or the id of a "
        "dataset on the Hub",
    )


def _fingerprints(files: Sequence[Path]) -> Iterator[str]:
    """The hash of each file's content, on all cores: hashing lets other threads run."""
    with ThreadPoolExecutor(cores().usable) as pool:
        yield from pool.map(file_fingerprint, files)


def _refuse_keys(spec: Source, keys: set[str], what: str) -> None:
    """Raises UserError for keys that are set but have no effect on this kind of source."""
    if given := sorted(key for key in keys if getattr(spec, key) != Source.model_fields[key].default):
        raise UserError(f"{spec.path}: {', '.join(given)} has no effect on {what}", remedy="leave it out")


def _local_files(spec: Source) -> tuple[Path, ...]:
    path = Path(spec.path).expanduser()
    if path.is_file():
        if not is_readable(path):
            raise UserError(f"{path}: unsupported format", remedy=FORMATS)
        return (path,)
    matches = glob(str(path), recursive=True)  # noqa: PTH207 - of any path
    found = files_in(path) if path.is_dir() else sorted(map(Path, matches))
    readable = tuple(file for file in found if is_readable(file) and file.is_file())
    if not readable and (found or path.is_dir()):
        raise UserError(f"{spec.path} contains no file in a supported format", remedy=FORMATS)
    tell_passed_over((kind_of(file) for file in found if file not in readable), spec.path)
    return readable


def _remote_files(spec: Source) -> tuple[Path, ...]:
    found = found_at(spec.path)
    readable = [file for file in found if is_in(file.name, READERS)]
    if not readable:
        raise UserError(f"{spec.path} has no file in a supported format", remedy=FORMATS)
    tell_passed_over((kind_of_name(file.name) for file in found if file not in readable), spec.path)
    return tuple(downloaded(spec.path, readable))


def _with_split(spec: Source, files: tuple[Path, ...]) -> Source:
    """The source with a way to split its text file, if it names none and the file is alone."""
    if spec.documents is not None or len(files) > 1 or format_of(files[0].name) not in PLAIN:
        return spec
    split = split_of(files[0])
    if split != "file":
        what = "each line" if split == "line" else "each part between blank lines"
        say(f"{spec.path}: {what} is a document; documents=file makes the whole file one")
    return spec.model_copy(update={"documents": split})


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
        raise no_column(dataset["path"], rows.column_names, spec)
    shards = rows.num_shards
    return [partial(_hub_documents, rows.shard(shards, number), dataset, spec) for number in range(shards)]


def _hub_documents(rows: Iterable[dict[str, Any]], dataset: dict[str, Any], spec: Source) -> Iterator[str]:
    with reading_from_the_hub("dataset", dataset["path"], dataset["revision"]):
        texts: Iterator[str] = (text_of(row[spec.text_column], dataset["path"], spec) for row in rows)
        yield from _joined(texts, BOOKCORPUS_SENTENCES) if spec.path == "bookcorpus" else texts


def _documents_of_all(files: Iterable[Path], spec: Source) -> Iterator[str]:
    for file in files:
        yield from documents_of(file, spec)


def _joined(sentences: Iterable[str], size: int) -> Iterator[str]:
    sentences = iter(sentences)
    while group := list(islice(sentences, size)):
        yield " ".join(group)


def _demo_content() -> dict[str, Any]:
    """What determines the demo's documents: the code that generates them, and their number."""
    from llmkit.corpus.demo import data, names, wording

    code = [file_fingerprint(Path(str(module.__file__))) for module in (data, names, wording)]
    return {"demo": code, "documents": data.NUM_DOCUMENTS}
