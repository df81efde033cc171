"""Read text files, with errors that name the file and line. Write files atomically."""

from __future__ import annotations

import codecs
import errno
import json
import lzma
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from llmkit.system.errors import UserError
from llmkit.system.formats import opened

# Errors of a full disk, an exceeded quota or file size limit, a read-only file system, and missing permissions.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_VALUE = re.compile(r"[^ \t\r\n]")  # the first character of the next JSON value


def read_text(path: Path) -> str:
    """Read a UTF-8 file, plain or compressed (formats.py), without its byte order mark and with line ends unchanged.

    Raises UserError if the file cannot be read, is damaged, or is not UTF-8.
    """
    with _reading(path), opened(path) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, content, f"byte {error.start}", str(path)) from None


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line) of a UTF-8 file, plain or compressed (formats.py).

    Raises UserError if the file cannot be read, is damaged, or is not UTF-8.
    """
    number, line = 0, b""
    with _reading(path, lambda: number):
        try:
            with opened(path) as lines:
                for number, line in enumerate(lines, start=1):
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            start = line if number == 1 else b""
            raise _not_utf8(path, start, f"byte {error.start} of the line", f"{path}:{number}") from None


def beginning(path: Path, size: int) -> bytes:
    """The first bytes of a file. Raises UserError if it cannot be read."""
    with _reading(path), path.open("rb") as file:
        return file.read(size)


@contextmanager
def _reading(path: Path, lines_read: Callable[[], int] | None = None) -> Iterator[None]:
    """A context in which a file is read. Raises UserError if it is not there, is damaged, or cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"no such file: {path}", remedy="check the path") from None
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if not isinstance(error, OSError) or error.errno is None:  # of decompressing, not of the system
            after = f" after line {lines_read()}" if lines_read is not None else ""
            raise UserError(f"{path}: damaged{after}: {error}", remedy="download the file again") from None
        raise UserError(f"{path} cannot be read: {error.strerror}", remedy="give a file that can be read") from None


def _not_utf8(path: Path, start: bytes, where: str, place: str) -> UserError:
    """The error for a file of another encoding. Excel's "Unicode Text" is UTF-16, with its byte order mark."""
    encoding = "UTF-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None
    return UserError(
        f"{place}: not UTF-8 text{f' but {encoding}' if encoding else ''} ({where})",
        remedy="save the file as UTF-8 (in Excel: CSV UTF-8), or convert it: "
        f"iconv -f {encoding or 'WINDOWS-1252'} -t UTF-8 {path.name} > new-{path.name}",
    )


def parse_json(text: str, path: Path, line: int | None = None) -> Any:
    """Parse the text of a JSON file, or of its line `line`. Raises UserError with the file and line."""
    with _parsing(path, line):
        return json.loads(text)


def json_values(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of the JSON values in a text, one after another: usually one. Raises UserError."""
    decoder, position, line = json.JSONDecoder(), 0, 1
    while start := _VALUE.search(text, position):
        line += text.count("\n", position, start.start())
        with _parsing(path, None):  # the decoder counts lines from the beginning of the text
            value, end = decoder.raw_decode(text, start.start())
        yield line, value
        line += text.count("\n", start.start(), end)
        position = end


@contextmanager
def _parsing(path: Path, line: int | None) -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError as error:
        whole = "; if the file is one JSON document, let its name end in .json" if line == 1 else ""
        raise UserError(
            f"{path}:{line or error.lineno}: broken JSON: {error.msg} (column {error.colno})",
            remedy=f"correct the line; a file that was cut off ends like this too{whole}",
        ) from None
    except (ValueError, RecursionError) as error:  # an integer with too many digits, or too deep nesting
        raise UserError(f"{path}:{line or 1}: cannot parse this JSON: {error}", remedy="correct it") from None


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file atomically: write a partial file, fsync, rename."""
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")  # process ids are not unique across machines
    try:
        with partial.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:  # remove the partial file on any exception, Ctrl-C included, and re-raise
        partial.unlink(missing_ok=True)
        raise


def is_about_writing(error: Exception) -> bool:
    """Whether an error means that a file cannot be written: a full or read-only disk, or missing permissions."""
    if isinstance(error, OSError):
        return error.errno in UNWRITABLE
    # torch raises RuntimeError, safetensors its own error, and tokenizers a plain Exception.
    messages = (
        "PytorchStreamWriter",
        "inline_container",
        "iostream error",
        "file write failed",
        "os error",
        "I/O error",
    )
    return any(message in str(error) for message in messages)


@contextmanager
def libraries_writing(what: str, folder: Path, *, remedy: str) -> Iterator[None]:
    """A context in which libraries write `folder`. If they cannot, removes the folder and raises UserError."""
    try:
        yield
    except Exception as error:  # hides nothing: errors that are not about writing are raised again
        if not is_about_writing(error):
            raise
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"{what} cannot be written: {error}", remedy=remedy) from error


def to_json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Serialize as JSON Lines, with Unicode unescaped."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def to_json(value: Any) -> str:
    """Serialize as indented JSON, with Unicode unescaped. Raises ValueError for NaN and infinity."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def check_output(output: Path | None) -> None:
    """Raises UserError if an output path exists and is not an empty folder."""
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is in use", remedy="choose another folder with -o")
