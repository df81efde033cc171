"""Rows → a task's examples, in canonical columns and with unique ids. Errors say which rows are invalid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.base import Task
from llmkit.tasks.columns import Columns
from llmkit.tasks.on_disk import batched, dataset_of
from llmkit.tasks.rows.formats import file_rows
from llmkit.tasks.rows.origin import DEMO
from llmkit.tasks.rows.splits import files_named, serves_every_split
from llmkit.tasks.values import BadRow, LocatedRow, MissingColumn, MissingLabel

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from llmkit.recipes.finetuning import DataSection

Example = dict[str, Any]  # an example in canonical columns, with its id
MAX_SHOWN = 3  # problems listed before "and N more"
NO_ROWS = "give a file with rows: this one is empty, or a table with nothing but the names of its columns"


def load_examples(task: Task[Any], data: DataSection, splits: Sequence[str], *, labelled: bool = True) -> DatasetDict:
    """Load and check the examples of `splits`, which may be larger than memory. If `labelled` is false, gold answers
    are not read.

    Raises UserError for a missing split, file or column, for a duplicate id, and for any row that the task rejects.
    """
    from datasets import DatasetDict

    return DatasetDict({split: _dataset(task, _loaded(task, data, split, labelled=labelled)) for split in splits})


def load_columns(task: Task[Any], data: DataSection, split: str, *, labelled: bool = True) -> Columns:
    """`load_examples` of one split, in memory."""
    return Columns.of_batches(batched(_loaded(task, data, split, labelled=labelled)))


def _loaded(task: Task[Any], data: DataSection, split: str, *, labelled: bool) -> Iterator[Example]:
    """The examples of a split."""
    # A file given by the user holds all parts of its split.
    parts = (split,) if serves_every_split(data) else task.splits(split)
    for part in parts:
        rows = task.first(expanded(task, task.rows(data, split, part)), data.max_samples)
        for example in _checked(task, rows, data, f"the {part} split", labelled=labelled):
            # Each of several parts numbers its examples from 0.
            yield {**example, "id": f"{part}-{example['id']}", "part": part} if len(parts) > 1 else example


def unlabelled_examples(task: Task[Any], data: DataSection) -> Dataset:
    """The examples of data.unlabelled, whose gold answers are not read. Raises UserError as `load_examples` does."""
    key, given = "data.unlabelled", data.unlabelled
    assert given is not None
    files = files_named([given] if isinstance(given, str) else given, key)
    rows = chain.from_iterable(file_rows(file, task.columns) for file in files)
    return examples_of(task, islice(expanded(task, rows), data.max_samples), data, key, labelled=False)


def expanded(task: Task[Any], rows: Iterable[LocatedRow]) -> Iterator[LocatedRow]:
    """Yield the rows nested inside `rows`. If a row is not nested as expected, yield its BadRow instead."""
    for place, row in rows:
        try:
            yield from task.expand(place, row)
        except BadRow as problem:
            yield place, problem


def examples_of(
    task: Task[Any], rows: Iterable[LocatedRow], data: DataSection, where: str, *, labelled: bool, first: int = 0
) -> Dataset:
    """Convert expanded rows to examples. Raises UserError with the first few problems and the total count.

    A row without an id gets its number, counting from `first`. `where` names the source of the rows in messages.
    """
    return _dataset(task, _checked(task, rows, data, where, labelled=labelled, first=first))


def _dataset(task: Task[Any], examples: Iterator[Example]) -> Dataset:
    """The examples with the task's types, in Arrow's form."""
    from datasets import Features, Value

    first = next(examples)
    schema = task.schema()
    if schema is not None:
        extra = {"part": Value("string"), "second_candidate": Value("bool")}
        schema = Features({**schema, **{name: kind for name, kind in extra.items() if name in first}})
    return dataset_of(batched(chain([first], examples)), schema)


def _checked(
    task: Task[Any], rows: Iterable[LocatedRow], data: DataSection, where: str, *, labelled: bool, first: int = 0
) -> Iterator[Example]:
    """See `examples_of`: raises after the last row. The demo's examples also have `second_candidate`."""
    places: dict[str, str] = {}
    problems = _Problems(task, where)
    read = 0
    for read, (place, row) in enumerate(rows, start=1):
        try:
            if isinstance(row, BadRow):
                problems.add(str(row))  # already includes the place
                continue
            if not isinstance(row, Mapping):
                raise BadRow(f"expected an object with {', '.join(task.columns)}, not {_kind(row)}")
            example = task.example(row, data, labelled=labelled)
            example_id = id_of(row, first + read - 1)
        except BadRow as problem:
            problems.add(f"{place}: {problem}", type(problem))
            continue
        if example_id in places:
            problems.add(f"{place}: id {example_id!r} is taken by {places[example_id]}")
            continue
        places[example_id] = place
        found = {**example, "id": example_id}
        yield {**found, "second_candidate": row["second_candidate"]} if place == DEMO else found
    problems.check(read)
    if not places:
        raise UserError(f"{where} holds no {task.item}", remedy=NO_ROWS)


class _Problems:
    """The rows that a task rejects: the first few, and the number of all."""

    def __init__(self, task: Task[Any], where: str) -> None:
        self._task, self._where = task, where
        self._first: list[str] = []
        self._count = 0
        self._kinds: Counter[type[BadRow]] = Counter()

    def add(self, problem: str, kind: type[BadRow] = BadRow) -> None:
        """Note one."""
        self._count += 1
        self._kinds[kind] += 1
        if self._count <= MAX_SHOWN:
            self._first.append(problem)

    def check(self, read: int) -> None:
        """Raises UserError if there is any among the `read` rows."""
        if not self._count:
            return
        if self._kinds[MissingLabel] == read:
            raise UserError(
                f"no {self._task.item} of {self._where} has a label, so there is nothing to learn or to score: "
                f"{self._first[0]}",
                remedy="name a split or file that has labels; `llmkit predict` gives labels to this one",
            )
        if self._kinds[MissingColumn] == read:
            raise UserError(
                f"{self._first[0]} (all rows of {self._where} are like this)",
                remedy="say which column to read; the first line of a table must name its columns",
            )
        more = self._count - MAX_SHOWN
        last = [f"… and {more} more like it in {self._where}"] if more > 0 else []
        raise UserError(*self._first, *last, remedy="correct or remove these rows")


def _kind(value: Any) -> str:
    """What JSON calls a value."""
    kinds = {list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def id_of(row: Mapping[str, Any], number: int) -> str:
    """A row's id, or else its number. Raises BadRow."""
    value = row.get("id", row.get("idx"))
    return checked_text(str(value), "id") if value is not None else str(number)


def text_of(row: Mapping[str, Any], name: str, known: Sequence[str], option: str | None = None) -> str:
    """The text in a row's column `name`, which data.`option` sets, if there is such an option.

    `known` are the expected columns, left out of suggestions. Raises BadRow.
    """
    value = row.get(name)
    if is_missing(value):
        near = did_you_mean(name, [key for key in row if key not in known and not is_missing(row[key])])
        what = f"{name!r} is empty" if name in row else f"no {name!r}"
        told = f"{what}{near}; fields are {', '.join(map(str, row))}"
        raise MissingColumn(f"{told}; choose one with data.{option}") if option else BadRow(told)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"{name!r} is empty or not text")
    return checked_text(value, name)


def first_in(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The first of `columns` that holds something in a row; else the first that the row has, or the first of all."""
    present = [column for column in columns if column in row]
    held = [column for column in present if not is_missing(row[column])]
    return [*held, *present, *columns][0]


def is_missing(value: Any) -> bool:
    """Whether a field holds nothing: null, or NaN as pandas writes it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def missing_column(row: Mapping[str, Any], name: str, option: str, near: Sequence[str]) -> str:
    """The message for a row without a value in the column `name`, which data.`option` sets.

    `near` are possible alternatives.
    """
    fields = ", ".join(map(str, row))
    what = f"{name!r} is empty" if name in row else f"no {name!r}{did_you_mean(name, near)}"
    return f"{what}; fields are {fields}; choose one with data.{option}"


def checked_text(value: str, name: str) -> str:
    """Return `value` if it can be encoded as UTF-8. Raises BadRow."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRow(f"{name!r} holds half a surrogate pair, which is not valid text") from None
    return value
