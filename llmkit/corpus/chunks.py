"""Sources → chunks: tokenized text, made by as many processes as there are, on as many machines.

    FOLDER/
      00-00000-00000.arrow   source, part of it (a file, say), chunk of that: an Arrow stream with one column,
                             input_ids, a row a document that is not empty; its counts are in the schema's metadata
      00-00000.end           how many chunks the part has

Where a part is cut depends on its text alone. Nobody is told what to do: a process reads on, past what is made and
what another one has the lock of, and makes what is left. So it does not matter how many there are, when they come,
how fast they are, or whether one is killed: the system gives its lock back, and somebody else makes that chunk.
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

CHUNK_CHARACTERS = 2**24  # a chunk is closed at the end of the document that reaches this
COUNTS = ("documents", "tokens", "bytes")
Report = Callable[[Mapping[str, int]], None]


def write_chunks(
    folder: Path, encoder: Encoder, sources: Sequence[OpenSource], report: Report, is_done: Callable[[], bool]
) -> None:
    """Returns when all chunks of all sources are there, whoever made them, or were and have been used: `is_done`.

    `report` is called with the counts of documents, tokens and bytes of text so far, those of other processes too.
    """
    parts = [
        (f"{number:02d}-{part:05d}", documents)
        for number, source in enumerate(sources)
        for part, documents in enumerate(source.parts())
    ]
    tally = _Tally(folder, report)
    # Processes begin at different parts, so that they seldom read the same text; each comes around to all parts.
    # What others are still at then is waited for, by all in the same order: nobody waits for one who waits for him.
    begin = len(parts) * rank() // world_size()
    for wait, order in ((False, parts[begin:] + parts[:begin]), (True, parts)):
        for name, documents in order:
            if not _is_whole(folder, name):
                _write_part(folder, name, documents(), encoder, tally, is_done, wait=wait)
    tally.update()


def chunks_of(folder: Path, source: int) -> Iterator[Path]:
    """The chunks of a source, in order."""
    for end in sorted(folder.glob(f"{source:02d}-*.end")):
        yield from _chunks(end)


def read_chunk(path: Path) -> tuple[Ids, Ids, dict[str, int]]:
    """Values and offsets of a chunk's documents, without reading them, and its counts."""
    with pa.memory_map(str(path)) as file:
        (batch,) = pa.ipc.open_stream(file)
    column = batch.column("input_ids")
    return column.values.to_numpy(), column.offsets.to_numpy(), _counts(batch.schema)


def documents_batch(values: Ids, lengths: Sequence[int] | Ids) -> pa.RecordBatch:
    """Documents, one after the other in `values`, as rows of one column, input_ids."""
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)
    return pa.record_batch({"input_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))})


def write_batch(path: Path, batch: pa.RecordBatch) -> None:
    """An Arrow stream that is one batch, whole."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    write_whole(path, sink.getvalue().to_pybytes())


class _Tally:
    """What is made so far, by everybody: the chunks that are there, and the one that is being made here."""

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder, self._report = folder, report
        self._seen: set[Path] = set()
        self._total = dict.fromkeys(COUNTS, 0)
        self.update()

    def update(self, current: Mapping[str, int] | None = None) -> None:
        """Report, with the counts of a chunk that is being made; without one, look first for what was made."""
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
    """The chunks of a part that nobody has made; with `wait`, those too that somebody is making and does not."""
    for number in count():
        stretch = _stretch(documents)
        first = next(stretch, None)
        if first is None:
            break
        path = folder / f"{name}-{number:05d}.arrow"
        if not path.exists() and not is_done():
            lock = FileLock(folder / f".{path.name}.lock")
            try:
                with lock.acquire(blocking=wait):
                    if not path.exists():
                        _write_chunk(path, chain([first], stretch), encoder, tally)
            except Timeout:
                pass  # another process is at it
            else:
                tally.update()
        for _ in stretch:  # read past what is not made here
            pass
    end = folder / f"{name}.end"
    if not end.exists():
        write_whole(end, str(number))


def _stretch(documents: Iterator[str]) -> Iterator[str]:
    """The next documents, as many as make a chunk."""
    size = 0
    for document in documents:
        yield document
        size += len(document)
        if size >= CHUNK_CHARACTERS:
            return


def _write_chunk(path: Path, documents: Iterator[str], encoder: Encoder, tally: _Tally) -> None:
    kept: list[Ids] = []
    counts = dict.fromkeys(COUNTS, 0)
    for done in encoder.encode(documents):
        for size, ids in done:
            if len(ids) > encoder.special:  # not empty
                kept.append(ids)
                counts["documents"] += 1
                counts["tokens"] += len(ids)
                counts["bytes"] += size
        tally.update(counts)
    values = np.concatenate([*kept, np.empty(0, encoder.dtype)])
    batch = documents_batch(values, [len(ids) for ids in kept])
    write_batch(path, batch.replace_schema_metadata({key: str(value) for key, value in counts.items()}))


def _is_whole(folder: Path, name: str) -> bool:
    end = folder / f"{name}.end"
    return end.exists() and all(path.exists() for path in _chunks(end))


def _chunks(end: Path) -> list[Path]:
    return [end.with_name(f"{end.stem}-{number:05d}.arrow") for number in range(int(end.read_text()))]


def _counts(schema: pa.Schema) -> dict[str, int]:
    return {key: int(schema.metadata[key.encode()]) for key in COUNTS}
