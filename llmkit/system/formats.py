"""The format of a file, by the end of its name in upper or lower case, and what it is compressed with."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Container
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO


def _zstandard(path: Path) -> BinaryIO:
    import pyarrow as pa  # only where it is needed, for a quick start

    return BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))


COMPRESSED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstandard,
}


def format_of(name: str) -> str:
    """The format that a file's name says: its end in lower case, such as `.txt` of `a.txt.gz`; empty if none."""
    return Path(name.lower().removesuffix(compression_of(name))).suffix


def compression_of(name: str) -> str:
    """What a file is compressed with, by the end of its name in lower case: one of COMPRESSED; empty if nothing."""
    end = Path(name).suffix.lower()
    return end if end in COMPRESSED else ""


def opened(path: Path) -> BinaryIO:
    """Open a file for reading its bytes, which are decompressed if its name says so."""
    decompress = COMPRESSED.get(compression_of(path.name))
    return decompress(path) if decompress is not None else path.open("rb")


def is_in(name: str, formats: Container[str]) -> bool:
    """Whether a file has one of `formats`. Text may be compressed; parquet files compress their own columns."""
    return format_of(name) in formats and not (format_of(name) == ".parquet" and compression_of(name))
