"""A Dataset that may be larger than memory: its rows are written to disk as they come, and read from there.

The file is in the cache folder and has no name, so nothing is left behind, even by a kill. What fits into one part is
never written.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from llmkit.system.cache import cache_folder, writing
from llmkit.tasks.columns import Columns

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, Features

PART_BYTES = 2**26  # in memory before they are written
BATCH_ROWS = 10_000
BATCH_CHARACTERS = 2**22  # of texts: Python takes several times their size
ALIGNED = 64  # Arrow reads a mapped file in place if its parts begin at multiples of so many bytes


def batched(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, list[Any]]]:
    """Rows as batches, by column. A batch ends with the row that fills it."""
    columns: dict[str, list[Any]] = {}
    count = size = 0
    for row in rows:
        columns = columns or {name: [] for name in row}
        if columns.keys() != row.keys():
            raise ValueError(f"a row has the columns {list(row)}, those before {list(columns)}")
        for name, value in row.items():
            columns[name].append(value)
        count += 1
        size += sum(len(value) for value in row.values() if isinstance(value, str))
        if count == BATCH_ROWS or size >= BATCH_CHARACTERS:
            yield columns
            columns, count, size = {}, 0, 0
    if columns:
        yield columns


def dataset_of(batches: Iterable[Mapping[str, Sequence[Any]]], schema: Features | None = None) -> Dataset:
    """The Dataset of some batches of rows, by column; at least one.

    `schema` has the types of the columns; without it they follow from the values. Raises UserError if the disk is full.
    """
    import pyarrow as pa  # here and below, as in all of tasks/: a quick start
    from datasets import Dataset, DatasetInfo, Features

    tables: list[pa.Table] = []
    size = 0
    with ExitStack() as stack:
        stack.enter_context(writing(cache_folder()))
        written = None
        for batch in batches:
            tables.append(Dataset.from_dict(dict(batch), features=schema).with_format("arrow")[:])
            size += tables[-1].nbytes
            if size >= PART_BYTES:
                written = written or stack.enter_context(_Written())
                written.append(_joined(tables))
                tables, size = [], 0
        parts = [*(written.tables() if written else ()), *([_joined(tables)] if tables else ())]
    whole = pa.concat_tables(parts, promote_options="permissive")
    features = schema or Features.from_arrow_schema(whole.schema.remove_metadata())
    # Without a fingerprint of its own, `datasets` would hash the whole table.
    return Dataset(whole, info=DatasetInfo(features=features), fingerprint=uuid4().hex[:16])


def held_like(examples: Dataset | Columns, batches: Iterable[Mapping[str, Sequence[Any]]]) -> Any:
    """What is made of `examples`, in memory if they are, else as `dataset_of` has it."""
    return Columns.of_batches(batches) if isinstance(examples, Columns) else dataset_of(batches)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table in one piece: a row is found by its piece first."""
    import pyarrow as pa

    table = pa.concat_tables(tables, promote_options="permissive")
    return table.replace_schema_metadata(None).combine_chunks()


class _Written:
    """Tables in a file without a name."""

    def __init__(self) -> None:
        cache_folder().mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = TemporaryFile(dir=cache_folder())  # noqa: SIM115 - closed by __exit__
        self._ends: list[int] = [0]

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # what is mapped stays

    def append(self, table: pa.Table) -> None:
        """Write a table."""
        import pyarrow as pa

        with pa.ipc.new_stream(self._file, table.schema) as stream:
            stream.write_table(table)
        self._file.write(bytes(-self._file.tell() % ALIGNED))
        self._ends.append(self._file.tell())

    def tables(self) -> list[pa.Table]:
        """The tables, mapped into memory."""
        import pyarrow as pa

        self._file.flush()
        whole = pa.py_buffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))
        starts, stops = self._ends[:-1], self._ends[1:]
        return [
            pa.ipc.open_stream(whole.slice(start, stop - start)).read_all()
            for start, stop in zip(starts, stops, strict=True)
        ]
