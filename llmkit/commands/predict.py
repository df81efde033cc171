"""`llmkit predict`: write a prediction for each row of a file.

Rows are processed in chunks, so memory use does not grow with their number. After a kill, the same command continues
after the last chunk that was written, and the output is the same as without the kill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.models.checkpoint import describe
from llmkit.recipes.finetuning import DataSection
from llmkit.system import gpu
from llmkit.system.cache import fingerprint
from llmkit.system.console import duration, is_main, result, say
from llmkit.system.errors import UserError, differences
from llmkit.system.files import to_json_lines
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.partial_file import PartialFile
from llmkit.system.processes import start_group
from llmkit.system.progress import Course, Progress
from llmkit.tasks.examples import NO_ROWS, examples_of, expanded, id_of
from llmkit.tasks.features import examples_fingerprint
from llmkit.tasks.inference import Reader, model_fingerprint, ready
from llmkit.tasks.rows.formats import ENDINGS
from llmkit.tasks.rows.origin import rows_of
from llmkit.tasks.rows.splits import names_files
from llmkit.tasks.settings import Settings
from llmkit.tasks.values import LocatedRow, Prediction

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 1  # of the partial file
# A chunk ends at the first of these limits. It holds many batches, even of short rows: inputs are sorted by length
# within a chunk, and several GPUs share its batches.
CHUNK_EXAMPLES = 16_384
CHUNK_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Done:
    """The examples that are done: their number, and a hash of them."""

    examples: int = 0
    rows: str = ""

    def plus(self, chunk: Dataset) -> Done:
        """These examples and one more chunk."""
        return Done(self.examples + len(chunk), fingerprint([self.rows, examples_fingerprint(chunk)]))

    def as_parts(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"examples": self.examples, "rows": self.rows}


@dataclass(frozen=True)
class Prepared:
    """Everything that `predict` needs, checked. There is no process group yet."""

    reader: Reader
    rows: Rows
    total: int
    file: PartialFile
    key: Mapping[str, Any]
    why: str
    done: Done  # by an earlier command
    size: int  # bytes of its predictions


class Rows:
    """The examples of a source, in chunks that are the same each time they are read."""

    def __init__(self, settings: Settings, source: str) -> None:
        self._task, self._data, self.source = settings.task, settings.data, source

    def __iter__(self) -> Iterator[LocatedRow]:
        rows = rows_of(self._data, "validation", "validation", self._task.columns)
        return expanded(self._task, rows)

    def chunks(self, first: int = 0) -> Iterator[tuple[list[LocatedRow], Dataset]]:
        """Chunks of rows and their examples. `first` is the row number at which a chunk begins.

        Raises UserError for a bad row.
        """
        chunk: list[LocatedRow] = []
        size = 0
        for placed in islice(self, first, None):
            chunk.append(placed)
            size += _characters(placed[1])
            if len(chunk) == CHUNK_EXAMPLES or size >= CHUNK_CHARACTERS:
                yield chunk, self._examples(chunk, first)
                first, chunk, size = first + len(chunk), [], 0
        if chunk:
            yield chunk, self._examples(chunk, first)

    def check(self, before: Done) -> tuple[int, bool]:
        """Check all rows. Returns their number, and whether the first ones are those of `before`.

        Raises UserError for bad rows, duplicate ids, and a source without rows.
        """
        seen: set[str] = set()
        checked, same = Done(), False
        with Progress("checking") as progress:
            for chunk, examples in self.chunks():
                for (place, _), example_id in zip(chunk, examples["id"][:], strict=True):
                    if example_id in seen:
                        taken = f"{place}: id {example_id!r} is taken by {self._place_of(example_id)}"
                        raise UserError(taken, remedy="correct or remove these rows")
                    seen.add(example_id)
                checked = checked.plus(examples)
                same = same or checked == before
                progress({"": f"{checked.examples:,} {self._task.item}s"})
        if not seen:
            raise UserError(f"{self.source} holds no {self._task.item}", remedy=NO_ROWS)
        return checked.examples, same

    def _examples(self, chunk: list[LocatedRow], first: int) -> Dataset:
        return examples_of(self._task, chunk, self._data, self.source, labelled=False, first=first)

    def _place_of(self, example_id: str) -> str:
        """The place of the first row with this id. Reads the source again, to save the memory of keeping all places."""
        return next(place for number, (place, row) in enumerate(self) if id_of(row, number) == example_id)


def prepare(settings: Settings, source: str, output: Path, batch_size: int | None = None) -> Prepared:
    """Check the rows and load the model. Raises UserError; writes nothing."""
    if output.suffix != ".jsonl":
        raise UserError(
            f"{output} does not end in .jsonl, the format of the predictions",
            remedy=f"use -o {output.with_suffix('.jsonl')}",
        )
    file = PartialFile(output)
    file.check()
    if source != "demo" and not names_files(source):
        if Path(source).is_dir():
            raise UserError(f"{source} is a folder", remedy=f"give its files as a pattern such as '{source}/*.jsonl'")
        raise UserError(f"{source} does not exist", remedy=f"give a file of rows, which ends in {ENDINGS}")
    quiet()
    keep_memory()
    gpu.set_up("auto")
    begun = file.begun()
    rows = Rows(settings, source)
    before = Done(**begun.parts) if begun else Done()
    total, same = rows.check(before)
    model, codec = settings.task.load_trained(settings.checkpoint, settings.data)
    choice = choose("auto")
    key = {
        "format": FORMAT,
        "llmkit": version("llmkit"),
        "task": settings.task.name,
        "model": model_fingerprint(model, codec),
        "options": settings.data.model_dump(exclude=set(DataSection.origin())),
        "null_threshold": settings.threshold,
        "bf16": choice.bf16,
        "batches": [CHUNK_EXAMPLES, CHUNK_CHARACTERS, batch_size],
    }
    done, size = Done(), 0
    if begun:
        changes = differences(begun.key, key)
        if not same:
            changes.append(f"{source} has changed in its first {before.examples:,} {settings.task.item}s")
        if changes:
            say(f"{output} was started with other settings or rows, starting over: {'; '.join(changes)}")
        else:
            done, size = before, begun.size
    reader = Reader(model, settings.task, codec, settings.data, settings.threshold, choice.bf16, batch_size)
    return Prepared(reader, rows, total, file, key, choice.why, done, size)


def predict(prepared: Prepared) -> None:
    """Write predictions for all rows. Raises UserError for a row that the model cannot read."""
    reader, file, total, done = prepared.reader, prepared.file, prepared.total, prepared.done
    items = f"{reader.task.item}s"
    with file.held() if is_main() else nullcontext():
        ready(reader.model, start_group(), bf16=reader.bf16)
        say(f"{describe(reader.model)} on {total:,} {items}; {prepared.why}")
        if done.examples:
            say(f"continuing after the {done.examples:,} {items} that are done")
        if is_main():
            file.cut(prepared.size)
        began, before = time.monotonic(), done.examples
        with Course("predicting", total, items, before) as course:
            for _, examples in prepared.rows.chunks(before):
                try:
                    predictions = reader(examples, course.part(len(examples)))
                except OutOfMemory as error:
                    if not error.smaller:
                        raise
                    smaller = error.smaller["per_device_eval_batch_size"]
                    raise UserError(*error.problems, remedy=f"use --batch-size {smaller}") from error
                except UserError as error:
                    raise _with_progress(error, done) from error
                done = done.plus(examples)
                if predictions is not None:
                    lines = to_json_lines(prediction.as_row() for prediction in predictions)
                    file.append(lines, prepared.key, done.as_parts())
        if is_main():
            file.finish()
    seconds, count = time.monotonic() - began, done.examples - before
    say(f"{count:,} {items} in {duration(seconds)}, {count / seconds:.1f} per second")
    result(str(file.path))


def predict_in_memory(
    settings: Settings, source: str, rows: Sequence[Mapping[str, Any]] | None, batch_size: int | None = None
) -> list[Prediction]:
    """Return predictions for `rows`, or for the rows of the file `source`.

    Raises UserError for bad rows, and OutOfMemory.
    """
    quiet()
    keep_memory()
    gpu.set_up("auto")
    task, data = settings.task, settings.data
    placed = (
        expanded(task, ((f"row {number}", row) for number, row in enumerate(rows)))
        if rows is not None
        else iter(Rows(settings, source))
    )
    examples = examples_of(task, placed, data, source, labelled=False)
    model, codec = task.load_trained(settings.checkpoint, data)
    bf16 = choose("auto").bf16
    reader = Reader(ready(model, start_group(), bf16=bf16), task, codec, data, settings.threshold, bf16, batch_size)
    with Course("predicting", len(examples), f"{task.item}s") as course:
        try:
            predictions = reader(examples, course.part(len(examples)))
        except OutOfMemory as error:
            if error.smaller:
                error.remedy = f"pass batch_size={error.smaller['per_device_eval_batch_size']}"
            raise
    assert predictions is not None
    return predictions


def _with_progress(error: UserError, done: Done) -> UserError:
    """The error, with how to continue added to its remedy."""
    if not done.examples:
        return error
    remedy = f"{error.remedy}; the same command then continues after the {done.examples:,} that are done"
    return UserError(*error.problems, remedy=remedy)


def _characters(value: Any) -> int:
    """The number of characters of text in a row."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 1
