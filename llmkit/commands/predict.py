"""`llmkit predict`: a model and a file of rows in, a file of predictions out. One story, top to bottom.

Rows go through in chunks, so memory does not grow with their number. Killed, the same command goes on after the last
chunk that was written; the file is the same as if it had never been stopped.
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
from llmkit.system.cache import fingerprint
from llmkit.system.console import duration, is_main, result, say
from llmkit.system.errors import UserError, differences
from llmkit.system.files import to_json_lines
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.partial_file import PartialFile
from llmkit.system.processes import start_group
from llmkit.system.progress import Course, Progress
from llmkit.tasks.examples import examples_of, expanded, id_of
from llmkit.tasks.features import examples_fingerprint
from llmkit.tasks.inference import BATCH_SIZE, Reader, model_fingerprint
from llmkit.tasks.rows import rows_of
from llmkit.tasks.settings import Settings
from llmkit.tasks.values import LocatedRow, Prediction

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 1  # of what is left aside
# A chunk ends with whatever comes first. It is sorted by length, so it is to hold many batches.
CHUNK_EXAMPLES = 1024
CHUNK_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Done:
    """Examples that have been gone through: how many, and a hash of them all."""

    examples: int = 0
    rows: str = ""

    def and_also(self, chunk: Dataset) -> Done:
        """These and those of one more chunk."""
        return Done(self.examples + len(chunk), fingerprint([self.rows, examples_fingerprint(chunk)]))

    def as_parts(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"examples": self.examples, "rows": self.rows}


@dataclass(frozen=True)
class Prepared:
    """Everything that predicting needs, checked, before any process group exists."""

    reader: Reader
    rows: Rows
    total: int
    file: PartialFile
    key: Mapping[str, Any]
    why: str
    done: Done  # what was predicted before
    size: int  # bytes of that


class Rows:
    """The examples of a source, in chunks that are the same whenever they are read."""

    def __init__(self, settings: Settings, source: str) -> None:
        self._task, self._data, self.source = settings.task, settings.data, source

    def __iter__(self) -> Iterator[LocatedRow]:
        rows = rows_of(self._data, "validation", "validation", self._task.columns)
        return expanded(self._task, rows)

    def chunks(self, first: int = 0) -> Iterator[tuple[list[LocatedRow], Dataset]]:
        """Rows from number `first` on, which begins a chunk, with their examples. Raises UserError for a bad row."""
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

    def survey(self, before: Done) -> tuple[int, bool]:
        """Check every row before a model reads any: how many there are, and whether they begin with those of `before`.

        Raises UserError for bad rows, ids that occur twice, and where there is no row.
        """
        seen: set[str] = set()
        all_of_it, same = Done(), False
        with Progress("checking") as progress:
            for chunk, examples in self.chunks():
                for (place, _), example_id in zip(chunk, examples["id"][:], strict=True):
                    if example_id in seen:
                        taken = f"{place}: id {example_id!r} is taken by {self._place_of(example_id)}"
                        raise UserError(taken, remedy="correct or remove these rows")
                    seen.add(example_id)
                all_of_it = all_of_it.and_also(examples)
                same = same or all_of_it == before
                progress({"": f"{all_of_it.examples:,} {self._task.item}s"})
        if not seen:
            raise UserError(f"{self.source} holds no {self._task.item}", remedy="check the file")
        return all_of_it.examples, same

    def _examples(self, chunk: list[LocatedRow], first: int) -> Dataset:
        return examples_of(self._task, chunk, self._data, self.source, labelled=False, first=first)

    def _place_of(self, example_id: str) -> str:
        """Where the first row with this id is, which is read again: to keep the places of all would take memory."""
        return next(place for number, (place, row) in enumerate(self) if id_of(row, number) == example_id)


def prepare(settings: Settings, source: str, output: Path, batch_size: int = BATCH_SIZE) -> Prepared:
    """Check the rows and load the model. Raises UserError; writes nothing."""
    if output.suffix != ".jsonl":
        raise UserError(
            f"{output} is to hold a JSON document a line", remedy=f"name it so: -o {output.with_suffix('.jsonl')}"
        )
    file = PartialFile(output)
    file.check()
    if source != "demo" and not Path(source).is_file():
        what = "is a folder" if Path(source).is_dir() else "is not there"
        raise UserError(f"{source} {what}", remedy="give a file of rows: .jsonl, .json, .csv, .tsv or .parquet")
    quiet()
    keep_memory()
    begun = file.begun()
    rows = Rows(settings, source)
    before = Done(**begun.parts) if begun else Done()
    total, same = rows.survey(before)
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
        told = differences(begun.key, key)
        if not same:
            told.append(f"{source} has changed in its first {before.examples:,} {settings.task.item}s")
        if told:
            say(f"{output} was begun otherwise, starting over: {'; '.join(told)}")
        else:
            done, size = before, begun.size
    reader = Reader(model, settings.task, codec, settings.data, settings.threshold, choice.bf16, batch_size)
    return Prepared(reader, rows, total, file, key, choice.why, done, size)


def predict(prepared: Prepared) -> None:
    """Write the predictions of all rows. Raises UserError for a row that the model cannot read."""
    reader, file, total, done = prepared.reader, prepared.file, prepared.total, prepared.done
    items = f"{reader.task.item}s"
    with file.held() if is_main() else nullcontext():
        reader.model.to(start_group())
        say(f"{describe(reader.model)} on {total:,} {items}; {prepared.why}")
        if done.examples:
            say(f"going on after the {done.examples:,} that are done")
        if is_main():
            file.cut(prepared.size)
        began, before = time.monotonic(), done.examples
        with Course("predicting", total, items, before) as course:
            for _, examples in prepared.rows.chunks(before):
                try:
                    predictions = reader(examples, course.part(len(examples)))
                except OutOfMemory as error:
                    smaller = max(1, reader.batch_size // 2)
                    raise UserError(*error.problems, remedy=f"give --batch-size {smaller}") from error
                except UserError as error:
                    raise _found_on_the_way(error, done) from error
                done = done.and_also(examples)
                if predictions is not None:
                    lines = to_json_lines(prediction.as_row() for prediction in predictions)
                    file.append(lines, prepared.key, done.as_parts())
        if is_main():
            file.finish()
    seconds, count = time.monotonic() - began, done.examples - before
    say(f"{count:,} {items} in {duration(seconds)}, {count / seconds:.1f} a second")
    result(str(file.path))


def predict_in_memory(
    settings: Settings, source: str, rows: Sequence[Mapping[str, Any]] | None, batch_size: int = BATCH_SIZE
) -> list[Prediction]:
    """Predictions for the rows of a file, or for `rows`, all at once. Raises UserError for bad rows."""
    quiet()
    keep_memory()
    task, data = settings.task, settings.data
    placed = (
        expanded(task, ((f"row {number}", row) for number, row in enumerate(rows)))
        if rows is not None
        else iter(Rows(settings, source))
    )
    examples = examples_of(task, placed, data, source, labelled=False)
    model, codec = task.load_trained(settings.checkpoint, data)
    model.to(start_group())
    reader = Reader(model, task, codec, data, settings.threshold, choose("auto").bf16, batch_size)
    with Course("predicting", len(examples), f"{task.item}s") as course:
        predictions = reader(examples, course.part(len(examples)))
    assert predictions is not None
    return predictions


def _found_on_the_way(error: UserError, done: Done) -> UserError:
    if not done.examples:
        return error
    remedy = f"{error.remedy}; the same command then goes on after the {done.examples:,} that are done"
    return UserError(*error.problems, remedy=remedy)


def _characters(value: Any) -> int:
    """The characters of all text in a row."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 1
