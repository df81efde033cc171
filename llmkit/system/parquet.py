"""Errors of parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.system.errors import UserError


@contextmanager
def reading_parquet(file: Path) -> Iterator[None]:
    """A context in which pyarrow reads a file. Raises UserError if it cannot."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{file}: not readable as parquet: {error}",
            remedy="download it again; in a folder from git clone, run `git lfs pull`",
        ) from None
