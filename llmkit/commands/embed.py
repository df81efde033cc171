"""`llmkit embed`: one vector for each text of a file, as a parquet file.

    id         string
    embedding  list of `dim` float32

Texts are embedded in chunks, so memory does not grow with their number. Vectors are kept as plain numbers until all are
there, because a parquet file cannot grow: after a kill, the same command continues after the last chunk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from llmkit.commands.texts import CHANGED, Done, Texts, chunk_limits
from llmkit.models.checkpoint import Checkpoint, describe
from llmkit.system import gpu
from llmkit.system.console import duration, is_main, result, say, warn
from llmkit.system.errors import UserError, differences
from llmkit.system.files import libraries_writing
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.partial_file import PartialFile
from llmkit.system.processes import start_group
from llmkit.system.progress import Course
from llmkit.tasks.inference import model_fingerprint, ready
from llmkit.tasks.similarity.embedder import Embedder, Wanted
from llmkit.tasks.values import Array

FORMAT = 1  # of the partial file
COLUMN = "embedding"


@dataclass(frozen=True)
class Prepared:
    """Everything that `embed` needs, checked. There is no process group yet."""

    embedder: Embedder
    texts: Texts
    total: int
    file: PartialFile
    key: Mapping[str, Any]
    why: str
    done: Done  # by an earlier command
    size: int  # bytes of its vectors


def prepare(
    model: str, source: str, output: Path, wanted: Wanted, *, field: str = "text", batch_size: int | None = None
) -> Prepared:
    """Check the texts and load the model. Raises UserError; writes nothing."""
    if output.suffix != ".parquet":
        raise UserError(
            f"{output} does not end in .parquet, the format of the vectors",
            remedy=f"use -o {output.with_suffix('.parquet')}",
        )
    file = PartialFile(output)
    file.check()
    texts = Texts(source, field)
    quiet()
    keep_memory()
    gpu.set_up("auto")
    begun = file.begun()
    before = Done(**begun.parts) if begun else Done()
    total, same = texts.check(before)
    choice = choose("auto")
    embedder = Embedder(Checkpoint.named(model), wanted, bf16=choice.bf16, batch_size=batch_size)
    key = {
        "format": FORMAT,
        "llmkit": version("llmkit"),
        "model": model_fingerprint(embedder.model, embedder.codec),
        "options": embedder.as_parts(),
        "bf16": choice.bf16,
        "batches": [*chunk_limits(), batch_size],
    }
    done, size = Done(), 0
    if begun:
        changes = differences(begun.key, key)
        if not same:
            changes.append(f"{source} has changed in its first {before.texts:,} texts")
        if changes:
            say(f"{output} was started with other settings or texts, starting over: {'; '.join(changes)}")
        else:
            done, size = before, begun.size
    return Prepared(embedder, texts, total, file, key, choice.why, done, size)


def embed(prepared: Prepared) -> None:
    """Write the vectors of all texts. Raises UserError if the file changes on the way."""
    embedder, file, total, done = prepared.embedder, prepared.file, prepared.total, prepared.done
    with file.held() if is_main() else nullcontext():
        ready(embedder.model, start_group(), bf16=embedder.bf16)
        say(f"{describe(embedder.model)} on {total:,} texts; {prepared.why}")
        if done.texts:
            say(f"continuing after the {done.texts:,} texts that are done")
        if is_main():
            file.cut(prepared.size)
        began, before = time.monotonic(), done.texts
        with Course("embedding", total, "texts", before) as course:
            for chunk in prepared.texts.chunks(before):
                cut = embedder.cut
                vectors = _vectors(embedder, chunk.texts, course)
                done = done.plus(chunk, embedder.cut - cut)
                if vectors is not None:
                    file.append(vectors.tobytes(), prepared.key, asdict(done))
        seconds, count = time.monotonic() - began, done.texts - before
        say(f"{count:,} texts in {duration(seconds)}, {count / max(seconds, 1e-9):.1f} per second")
        if done.cut:
            warn(
                f"{done.cut:,} of {total:,} texts are longer than {embedder.max_length} tokens: of these, only the "
                "beginning is in the vector"
            )
        if is_main():
            file.finish(lambda raw, whole: _write_parquet(prepared, done, raw, whole))
    result(str(file.path))


def embed_in_memory(model: str, texts: Sequence[str], wanted: Wanted, batch_size: int | None = None) -> Array:
    """The vectors of texts, float32 [texts, dim]. Raises UserError, and OutOfMemory."""
    quiet()
    keep_memory()
    gpu.set_up("auto")
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError("every text must be a string that is not empty", remedy="leave out the others")
    embedder = Embedder(Checkpoint.named(model), wanted, bf16=choose("auto").bf16, batch_size=batch_size)
    ready(embedder.model, start_group(), bf16=embedder.bf16)
    with Course("embedding", len(texts), "texts") as course:
        vectors = _vectors(embedder, texts, course)
    assert vectors is not None
    if embedder.cut:
        warn(f"{embedder.cut:,} of {len(texts):,} texts are longer than {embedder.max_length} tokens, and were cut")
    return vectors


def _vectors(embedder: Embedder, texts: Sequence[str], course: Course) -> Array | None:
    try:
        return embedder(texts, course.part(len(texts)))
    except OutOfMemory as error:
        if error.smaller:
            error.remedy = f"use --batch-size {error.smaller['per_device_eval_batch_size']}"
        raise


def _write_parquet(prepared: Prepared, done: Done, raw: Path, whole: Path) -> None:
    """Write the vectors of the file `raw` with their ids. Raises UserError if the texts have changed since."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    dim, seen = prepared.embedder.dim, Done()
    numbers = pa.list_(pa.float32(), dim)
    about = json.dumps({**prepared.key["options"], "llmkit": prepared.key["llmkit"]})
    schema = pa.schema([("id", pa.string()), (COLUMN, numbers)], metadata={"llmkit": about})
    remedy = "free some space, and run the command again: it only has to write the file"
    with (
        libraries_writing(str(prepared.file.path), whole, remedy=remedy),
        raw.open("rb") as vectors,
        pq.ParquetWriter(whole, schema, compression="none") as writer,
    ):
        for chunk, block in _blocks(prepared.texts, vectors, dim):
            seen = seen.plus(chunk)
            if len(block) < dim * len(chunk.texts):
                break  # the file has grown
            ids = pa.array(chunk.ids, pa.string())
            writer.write_table(pa.table([ids, pa.FixedSizeListArray.from_arrays(block, type=numbers)], schema=schema))
    if not seen.same_texts(done):
        whole.unlink()
        raise UserError(f"{prepared.texts.source} has changed while it was embedded", remedy=CHANGED)


def _blocks(texts: Texts, vectors: Any, dim: int) -> Iterator[tuple[Any, Any]]:
    """Each chunk of texts, with the numbers of its vectors, one after another."""
    import pyarrow as pa

    for chunk in texts.chunks():
        yield chunk, pa.array(np.frombuffer(vectors.read(4 * dim * len(chunk.texts)), np.float32))
