"""Files: read as text with errors that name the place, written whole or not at all."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from llmkit.system.errors import UserError

# What the system says where a place is full, or not for this user to write.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def read_text(path: Path) -> str:
    """A UTF-8 file's text, its line ends as they are, without a byte order mark. Raises UserError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}", remedy="check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte {error.start})", remedy="convert it to UTF-8, for instance with iconv"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", remedy="give a file that can be read") from None


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, which may be packed (`.gz`), with their numbers from 1, one at a time.

    Raises UserError.
    """
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}:{number}: not UTF-8 text (byte {error.start} of the line)", remedy="save the file as UTF-8"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged behind line {number}: {error}", remedy="fetch the file again") from None
    except FileNotFoundError:
        raise UserError(f"no such file: {path}", remedy="check the path") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", remedy="give a file that can be read") from None


def parse_json(text: str, path: Path, line: int | None = None) -> Any:
    """A JSON document that is a whole file, or its line `line`. Raises UserError with the place."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{line or error.lineno}: broken JSON: {error.msg} (column {error.colno})",
            remedy="correct the line; a file that was cut off ends like this too",
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
        raise UserError(f"{path}:{line or 1}: not JSON that can be read: {error}", remedy="correct it") from None


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees all of it or nothing: write aside, fsync, rename."""
    aside = path.with_name(f".{path.name}.{uuid4().hex}.partial")  # processes on two machines may have the same number
    try:
        with aside.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:  # hides nothing: whatever it is, Ctrl-C too, what was begun goes, and it goes on
        aside.unlink(missing_ok=True)
        raise


def is_about_writing(error: Exception) -> bool:
    """Whether an error of a library that writes files means a full or read-only disk: each says it in its own way."""
    if isinstance(error, OSError):
        return error.errno in UNWRITABLE
    # torch raises RuntimeError, safetensors its own error, tokenizers a bare Exception.
    told = ("PytorchStreamWriter", "inline_container", "iostream error", "file write failed", "os error", "I/O error")
    return any(words in str(error) for words in told)


@contextmanager
def libraries_writing(what: str, folder: Path, *, remedy: str) -> Iterator[None]:
    """Inside, libraries write `folder`. Raises UserError where they cannot, and removes what they began."""
    try:
        yield
    except Exception as error:  # hides nothing: what is not about writing goes on as it is
        if not is_about_writing(error):
            raise
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"{what} cannot be written: {error}", remedy=remedy) from error


def to_json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """A JSON document a line, Unicode as it is."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def to_json(value: Any) -> str:
    """JSON for people and programs alike: indented, Unicode as it is, no NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def check_output(output: Path | None) -> None:
    """Raises UserError where an output folder is in use."""
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is in use", remedy="choose another folder with -o")
