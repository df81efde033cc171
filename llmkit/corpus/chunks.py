"""Tokenize sources into chunks, with any number of processes on any number of machines.

    FOLDER/
      00-00000-00000.arrow   source, part (such as a file) and chunk number: an Arrow stream with one column, input_ids,
                             and one row per non-empty document; the schema's metadata holds the chunk's counts
      00-00000.end           the number of chunks in the part

Chunk boundaries depend on the text alone. There is no coordinator: each process reads through the parts, skips chunks
that exist or that another process has locked, and writes the others. So processes may start, stall or die at any time:
the system releases the lock of a dead process, and another process writes that chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from llmkit.corpus.encoding import Encoder, Ids
from llmkit.corpus.sources import OpenSource
from llmkit.system.files import write_whole
from llmkit.system.processes import rank, world_size

CHUNK_CHARACTERS = 2**24  # a chunk ends with the document that reaches this size
COUNTS = ("documents", "tokens", "bytes", "unknown")  # unknown: tokens that are [UNK]
Report = Callable[[Mapping[str, int]], None]


def write_chunks(
    folder: Path, encoder: Encoder, sources: Sequence[OpenSource], report: Report, is_done: Callable[[], bool]
) -> None:
    """Tokenize all sources. Return once every chunk exists, or `is_done()` says that the corpus is built.

    `report` is called with the COUNTS of the text so far, over all processes.
    """
    parts = [
        (f"{number:02d}-{part:05d}", documents)
        for number, source in enumerate(sources)
        for part, documents in enumerate(source.parts())
    ]
    tally = _Tally(folder, report)
    # Processes start at different parts, so that they rarely read the same text. Each goes through all parts.
    # Then wait for chunks still being written, in one fixed order, so that no two processes deadlock.
    first = len(parts) * rank() // world_size()
    for wait, ordered in ((False, parts[first:] + parts[:first]), (True, parts)):
        for name, documents in ordered:
            if not _is_complete(folder, name):
                _write_part(folder, name, documents(), encoder, tally, is_done, wait=wait)
    tally.update()


def chunks_of(folder: Path, source: int) -> Iterator[Path]:
    """The paths of a source's chunks, in order."""
    for end in sorted(folder.glob(f"{source:02d}-*.end")):
        yield from _chunk_paths(end)


def read_chunk(path: Path) -> tuple[Ids, Ids, dict[str, int]]:
    """Memory-map a chunk. Returns the ids of all its documents [T], the documents' offsets [D + 1], and its counts."""
    with pa.memory_map(str(path)) as file:
        (batch,) = pa.ipc.open_stream(file)
    column = batch.column("input_ids")
    return column.values.to_numpy(), column.offsets.to_numpy(), _counts(batch.schema)


def documents_batch(values: Ids, lengths: Sequence[int] | Ids) -> pa.RecordBatch:
    """A record batch with one column, input_ids, and one row per document. `values` has all their ids, end to end."""
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)
    return pa.record_batch({"input_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))})


def write_batch(path: Path, batch: pa.RecordBatch) -> None:
    """Write a batch as an Arrow stream, atomically."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    write_whole(path, sink.getvalue().to_pybytes())


class _Tally:
    """Counts so far: of the chunks in the folder, from all processes, and of the chunk that this process is writing."""

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder, self._report = folder, report
        self._seen: set[Path] = set()
        self._total = dict.fromkeys(COUNTS, 0)
        self.update()

    def update(self, current: Mapping[str, int] | None = None) -> None:
        """Report the counts. `current` has those of the chunk being written; without it, look for new chunks first."""
        if current is None:
            for path in set(self._folder.glob("*.arrow")) - self._seen:
                self._seen.add(path)
                with pa.memory_map(str(path)) as file:
                    counts = _counts(pa.ipc.open_stream(file).schema)
                self._total = {key: self._total[key] + counts[key] for key in COUNTS}
        self._report({key: self._total[key] + (current or {}).get(key, 0) for key in COUNTS})


def _write_part(
    folder: Path,
    name: str,
    documents: Iterator[str],
    encoder: Encoder,
    tally: _Tally,
    is_done: Callable[[], bool],
    *,
    wait: bool,
) -> None:
    """Write the missing chunks of a part; with `wait`, also those whose writer died."""
    for number in count():
        chunk = _next_chunk(documents)
        first = next(chunk, None)
        if first is None:
            break
        path = folder / f"{name}-{number:05d}.arrow"
        if not path.exists() and not is_done():
            lock = FileLock(folder / f".{path.name}.lock")
            try:
                with lock.acquire(blocking=wait):
                    if not path.exists():
                        _write_chunk(path, chain([first], chunk), encoder, tally)
            except Timeout:
                pass  # another process is writing it
            else:
                tally.update()
        for _ in chunk:  # skip the documents of a chunk that is not written here
            pass
    end = folder / f"{name}.end"
    if not end.exists():
        write_whole(end, str(number))


def _next_chunk(documents: Iterator[str]) -> Iterator[str]:
    """Yield the documents of the next chunk."""
    size = 0
    for document in documents:
        yield document
        size += len(document)
        if size >= CHUNK_CHARACTERS:
            return


def _write_chunk(path: Path, documents: Iterator[str], encoder: Encoder, tally: _Tally) -> None:
    kept: list[Ids] = []
    counts = dict.fromkeys(COUNTS, 0)
    for batch in encoder.encode(documents):
        for size, ids in batch:
            if len(ids) > encoder.special:  # the document has tokens of its own
                kept.append(ids)
                counts["documents"] += 1
                counts["tokens"] += len(ids)
                counts["bytes"] += size
                counts["unknown"] += int(np.count_nonzero(ids == encoder.unknown))
        tally.update(counts)
    values = np.concatenate([*kept, np.empty(0, encoder.dtype)])
    table = documents_batch(values, [len(ids) for ids in kept])
    write_batch(path, table.replace_schema_metadata({key: str(value) for key, value in counts.items()}))


def _is_complete(folder: Path, name: str) -> bool:
    end = folder / f"{name}.end"
    return end.exists() and all(path.exists() for path in _chunk_paths(end))


def _chunk_paths(end: Path) -> list[Path]:
    return [end.with_name(f"{end.stem}-{number:05d}.arrow") for number in range(int(end.read_text()))]


def _counts(schema: pa.Schema) -> dict[str, int]:
    return {key: int(schema.metadata[key.encode()]) for key in COUNTS}
