"""Rows of parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.system.tables import check_names
from llmkit.tasks.rows.classes import with_names
from llmkit.tasks.values import LocatedRow

if TYPE_CHECKING:
    from datasets import Features


def parquet_rows(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """The rows of a parquet file. If its schema has names for label numbers, rows have the names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        check_names(table.schema_arrow.names, str(file))
        features = _features(table.schema_arrow)
        number = 0
        for batch in table.iter_batches(1000):
            for row in batch.to_pylist():
                yield f"{file} row {number}", row if features is None else with_names(row, features)
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{file}: not readable as parquet: {error}",
            remedy="download it again; in a folder from git clone, run `git lfs pull`",
        ) from None


def _features(schema: Any) -> Features | None:
    """What `datasets` noted in the schema; None if it noted nothing, or in a form that this version cannot read."""
    from datasets import Features

    if b"huggingface" not in (schema.metadata or {}):
        return None
    try:
        return Features.from_arrow_schema(schema)
    except (ValueError, KeyError, TypeError, AttributeError):  # a newer version's kind of column
        return None
