"""Find the files of a folder, and tell which ones are passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.formats import COMPRESSED, format_of, is_gzip

SHOWN = 6  # kinds of files named before "…"


def files_in(folder: Path) -> list[Path]:
    """All files of a folder and its subfolders, sorted by path, without hidden ones.

    Links are followed. A file or folder that several paths lead to is listed once. Raises UserError if a folder cannot
    be read.
    """
    found: dict[str, Path] = {}
    for path in sorted(_walk(folder, set())):
        found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:  # a link to a folder that is listed already, perhaps to one above
        return
    seen.add(real)
    # Folders before links to folders, so that a file has the path without a link.
    try:
        paths = sorted(folder.iterdir(), key=lambda path: (path.is_symlink(), path))
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}", remedy="change its permissions") from None
    for path in paths:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, seen)
        else:
            yield path


def tell_passed_over(found: Iterable[Path], read: Iterable[Path], folder: object) -> None:
    """Say how many of the files that were found are not read, by the ends of their names."""
    known = set(read)
    kinds = Counter(_kind(file) for file in found if file not in known)
    if kinds:
        named = [f"{kind} ({number:,})" for kind, number in kinds.most_common(SHOWN)]
        more = ", …" if len(kinds) > SHOWN else ""
        say(f"{folder}: passed over {_files(kinds.total())}: {', '.join(named)}{more}")


def _kind(file: Path) -> str:
    if not file.exists():
        return "broken links"
    if file.is_dir():
        return "folders"
    packed = COMPRESSED if is_gzip(file.name) else ""
    return format_of(file.name) + packed or "without a suffix"


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"
