"""The format of a file, by the end of its name in upper or lower case."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

COMPRESSED = ".gz"  # what `text_lines` and `read_text` decompress


def format_of(name: str) -> str:
    """The format that a file's name says: its end in lower case, without `.gz`, such as `.txt`; empty if none."""
    return Path(name.lower().removesuffix(COMPRESSED)).suffix


def is_gzip(name: str) -> bool:
    """Whether a file's name ends in `.gz`."""
    return name.lower().endswith(COMPRESSED)


def is_in(name: str, formats: Container[str]) -> bool:
    """Whether a file has one of `formats`. Text may be compressed; parquet files compress their own columns."""
    return format_of(name) in formats and not (format_of(name) == ".parquet" and is_gzip(name))
