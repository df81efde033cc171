"""Token shards: a tokenized corpus on disk.

    DIR/
      manifest.json               what went in, what came out; its presence means that the folder is whole
      tokenizer/                  loads with AutoTokenizer.from_pretrained
      train-00000.arrow …         Arrow streams with one column, input_ids: list<uint16> (uint32 where the
      validation-00000.arrow …    vocabulary needs it), a row a document: [CLS] … [SEP]

`datasets.Dataset.from_file` opens a shard memory-mapped. Every 200th document of each source is held out
for validation, the first among them, so that even a corpus of a few books has a held-out one.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from llmkit.corpus.sources import OpenSource
from llmkit.corpus.vocabulary import save_tokenizer
from llmkit.errors import UserError
from llmkit.files import to_json, write_whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Ids = np.ndarray[Any, np.dtype[Any]]

FORMAT = 1
HELD_OUT_EVERY = 200  # documents
SHARD_TOKENS = 2**24  # a shard is closed at the end of the document that reaches this
BATCH_CHARACTERS = 2**21  # text handed to the tokenizer at once: enough for all cores, little enough to hold
AHEAD = 2  # batches in the tokenizer's hands
SPLITS = ("train", "validation")


@dataclass
class _Part:
    """What is read of a source until a shard is full: one shard of each split."""

    read: int  # documents of the source read so far, in all
    kept: int  # those of them that are not empty
    bytes: int = 0
    last: bool = False  # whether the source ends here
    ids: dict[str, list[Ids]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))


def write_shards(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    sources: Sequence[OpenSource],
    report: Callable[[Mapping[str, int]], None],
) -> list[dict[str, Any]]:
    """Tokenize all sources into shards under `folder`; returns one record a shard-pair.

    Goes on after the last whole shard of an earlier call that was killed. `report` is called with the
    counts of documents, tokens and bytes of text so far.
    """
    progress = folder / "progress.json"
    records: list[dict[str, Any]] = json.loads(progress.read_text()) if progress.is_file() else []
    # In a corpus "[MASK]" is six characters that somebody wrote, not a mask.
    backend = tokenizer.backend_tokenizer.__class__.from_str(tokenizer.backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    backend.no_truncation()
    backend.no_padding()
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 2**16 else np.uint32)
    for number, source in enumerate(sources):
        mine = [record for record in records if record["source"] == number]
        if mine and mine[-1]["last"]:
            continue
        start = _Part(read=mine[-1]["read"] if mine else 0, kept=mine[-1]["kept"] if mine else 0)
        totals = _totals(records)
        for part, whole in _parts(source.documents(), backend, dtype, start):
            report({key: totals[key] + value for key, value in _counts(part, start.kept).items()})
            if not whole:
                continue
            records.append(_write(folder, part, number, len(records), dtype))
            write_whole(progress, json.dumps(records))
            totals = _totals(records)
            start = part
    return records


def write_manifest(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    records: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Make the folder a corpus: its tokenizer, unless it was trained there, and, last, its manifest."""
    if not (folder / "tokenizer").is_dir():
        save_tokenizer(tokenizer, folder / "tokenizer")
    splits = {
        split: [{**record[split], "source": record["source"]} for record in records if record[split]["documents"]]
        for split in SPLITS
    }
    totals = {
        split: {key: sum(shard[key] for shard in splits[split]) for key in ("documents", "tokens")} for split in SPLITS
    }
    manifest = {
        "format": FORMAT,
        **about,
        "bytes": _totals(records)["bytes"],
        "totals": totals,
        "splits": splits,
    }
    write_whole(folder / "manifest.json", to_json(manifest))
    (folder / "progress.json").unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a folder of token shards says of itself. Raises UserError where it is none, or another version's."""
    path = folder / "manifest.json"
    if not path.is_file():
        what = "holds no token shards" if folder.is_dir() else "is not there"
        raise UserError(f"{folder} {what}", remedy="make them with `llmkit tokenize -c … -o DIR`")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, *_ = (manifest[name] for name in ("format", "key", "sources", "totals", "splits"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}", remedy="tokenize the corpus again") from None
    if version != FORMAT:
        raise UserError(f"{path} is of format {version}; this llmkit reads {FORMAT}", remedy="tokenize again")
    return manifest


class TokenShards:
    """The documents of one split, memory-mapped.

    `lengths` holds the tokens of every document, `weights` how often each is to be read in an epoch.
    """

    def __init__(self, folder: Path, split: str) -> None:
        manifest = read_manifest(folder)
        self.folder = folder
        weights = [float(source["weight"]) for source in manifest["sources"]]
        shards = manifest["splits"][split]
        self._values: list[Ids] = []
        starts, lengths = [], []
        for shard in shards:
            values, offsets = _open(folder / shard["file"])
            self._values.append(values)
            starts.append(offsets[:-1])
            lengths.append(np.diff(offsets))
        self.lengths = np.concatenate([*lengths, np.empty(0, np.int64)]).astype(np.int64)
        self._starts = np.concatenate([*starts, np.empty(0, np.int64)]).astype(np.int64)
        self._shard = np.repeat(np.arange(len(shards)), [len(part) for part in lengths])
        self.weights = np.repeat([weights[s["source"]] for s in shards], [len(part) for part in lengths])

    def __len__(self) -> int:
        return len(self.lengths)

    def tokens(self, document: int, start: int, stop: int) -> Ids:
        """Tokens [start, stop) of a document."""
        first = self._starts[document]
        tokens: Ids = self._values[self._shard[document]][first + start : first + stop]
        return tokens


def _parts(documents: Iterator[str], backend: Any, dtype: np.dtype[Any], start: _Part) -> Iterator[tuple[_Part, bool]]:
    """Yields the growing part after every batch of text, and once more with True when it is full."""
    part = _Part(start.read, start.kept)
    for texts, encoded in _encoded(_batches(islice(documents, start.read, None)), backend):
        for text, ids in zip(texts, _ids(encoded, dtype), strict=True):
            part.read += 1
            if len(ids) <= 2:  # nothing but [CLS] [SEP]: an empty document
                continue
            split = "validation" if part.kept % HELD_OUT_EVERY == 0 else "train"
            part.kept += 1
            part.ids[split].append(ids)
            part.tokens[split] += len(ids)
            part.bytes += len(text.encode())
            if part.tokens["train"] >= SHARD_TOKENS:
                yield part, True
                part = _Part(part.read, part.kept)
        yield part, False
    part.last = True
    yield part, True


def _batches(documents: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoded(batches: Iterator[list[str]], backend: Any) -> Iterator[tuple[list[str], list[Any]]]:
    """Batches with their encodings, a few ahead: while the library, which needs no interpreter, works on one
    batch with all cores, its last documents may leave some idle, the next text is read and the last one written."""

    waiting: deque[tuple[list[str], Future[list[Any]]]] = deque()
    pool = ThreadPoolExecutor(AHEAD)
    try:
        # Nothing comes after the last batch, AHEAD times, so that all that wait are taken.
        for texts in chain(batches, repeat(None, AHEAD)):
            if texts is not None:
                waiting.append((texts, pool.submit(backend.encode_batch_fast, texts, add_special_tokens=True)))
            if waiting and (texts is None or len(waiting) > AHEAD):
                done, encodings = waiting.popleft()
                yield done, encodings.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _ids(encodings: list[Any], dtype: np.dtype[Any]) -> list[Ids]:
    lengths = [len(encoding) for encoding in encodings]
    flat = np.fromiter(chain.from_iterable(e.ids for e in encodings), dtype=dtype, count=sum(lengths))
    return np.split(flat, np.cumsum(lengths)[:-1])


def _write(folder: Path, part: _Part, source: int, number: int, dtype: np.dtype[Any]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "source": source,
        "read": part.read,
        "kept": part.kept,
        "bytes": part.bytes,
        "last": part.last,
    }
    for split in SPLITS:
        documents = part.ids[split]
        record[split] = {
            "file": f"{split}-{number:05d}.arrow",
            "documents": len(documents),
            "tokens": part.tokens[split],
        }
        if documents:
            offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in documents])]).astype(np.int32)
            column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(documents).astype(dtype)))
            table = pa.table({"input_ids": column})
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            write_whole(folder / record[split]["file"], sink.getvalue().to_pybytes())
    return record


def _open(path: Path) -> tuple[Ids, Ids]:
    """Values and offsets of a shard's one column, without reading them."""
    try:
        with pa.memory_map(str(path)) as source:
            (column,) = pa.ipc.open_stream(source).read_all().column("input_ids").chunks
    except (OSError, pa.ArrowInvalid, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged: {error}", remedy="tokenize the corpus again") from None
    return column.values.to_numpy(), column.offsets.to_numpy()


def _counts(part: _Part, kept_before: int) -> dict[str, int]:
    return {"documents": part.kept - kept_before, "tokens": sum(part.tokens.values()), "bytes": part.bytes}


def _totals(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {
        "documents": sum(record[split]["documents"] for record in records for split in SPLITS),
        "tokens": sum(record[split]["tokens"] for record in records for split in SPLITS),
        "bytes": sum(record["bytes"] for record in records),
    }
