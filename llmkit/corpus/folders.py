"""Find the files of a folder, and tell which ones are passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.formats import compression_of, format_of

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


def tell_passed_over(kinds: Iterable[str], folder: object) -> None:
    """Say how many files are not read, by their kind."""
    counts = Counter(kinds)
    if counts:
        named = [f"{kind} ({number:,})" for kind, number in counts.most_common(SHOWN)]
        more = ", …" if len(counts) > SHOWN else ""
        say(f"{folder}: passed over {_files(counts.total())}: {', '.join(named)}{more}")


def kind_of(file: Path) -> str:
    """What to call files of this kind."""
    if not file.exists():
        return "broken links"
    return "folders" if file.is_dir() else kind_of_name(file.name)


def kind_of_name(name: str) -> str:
    """What to call files with such a name: by its end."""
    return format_of(name) + compression_of(name) or "without a suffix"


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"
