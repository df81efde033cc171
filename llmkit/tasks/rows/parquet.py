"""Rows of parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.parquet import reading_parquet
from llmkit.system.tables import check_names
from llmkit.tasks.rows.classes import with_names
from llmkit.tasks.values import LocatedRow

if TYPE_CHECKING:
    from datasets import Features


def parquet_rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """The rows of a parquet file. If its schema has names for label numbers, rows have the names."""
    import pyarrow.parquet as pq

    with reading_parquet(file):
        table = pq.ParquetFile(file)
        check_names(table.schema_arrow.names, str(file))
        features = _features(table.schema_arrow)
        number = 0
        for batch in table.iter_batches(1000):
            for row in batch.to_pylist():
                yield f"{file} row {number}", row if features is None else with_names(row, features)
                number += 1


def _features(schema: Any) -> Features | None:
    """What `datasets` noted in the schema; None if it noted nothing, or in a form that this version cannot read."""
    if b"huggingface" not in (schema.metadata or {}):
        return None
    from datasets import Features

    try:
        return Features.from_arrow_schema(schema)
    except (ValueError, KeyError, TypeError, AttributeError):  # a newer version's kind of column
        return None
