"""Rows in memory. `datasets` takes more than a second to import, which few rows are not worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from llmkit.tasks.values import Array


class Columns:
    """Examples or features in memory: reads like a `datasets.Dataset` of the same columns.

    `examples["id"]` is a column, `examples[3]` a row, and `examples[10:20]` or `examples[array]` some rows, by column.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = dict(columns)

    @classmethod
    def from_dict(cls, columns: Mapping[str, Sequence[Any]]) -> Columns:
        """See `Dataset`."""
        return cls(columns)

    @classmethod
    def of_batches(cls, batches: Iterable[Mapping[str, Sequence[Any]]]) -> Columns:
        """The rows of some batches, by column."""
        columns: dict[str, list[Any]] = {}
        for batch in batches:
            for name, values in batch.items():
                columns.setdefault(name, []).extend(values)
        return cls(columns)

    @property
    def column_names(self) -> list[str]:
        """See `Dataset`."""
        return list(self._columns)

    def select_columns(self, names: Iterable[str]) -> Columns:
        """See `Dataset`."""
        return Columns({name: self._columns[name] for name in names})

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, key: str | int | slice | Array) -> Any:
        if isinstance(key, str):
            return self._columns[key]
        if isinstance(key, slice):
            return {name: values[key] for name, values in self._columns.items()}
        if isinstance(key, np.ndarray):
            return {name: [values[number] for number in key] for name, values in self._columns.items()}
        return {name: values[key] for name, values in self._columns.items()}
