"""Talk and progress on stderr, results on stdout.

On a terminal progress is one live line; elsewhere (a log file, CI) it is a plain line every few seconds.
Only one process of a run speaks.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Messages go to rich as Text: in a plain str it would read [tags], and replace :codes: by emoji, of what is a
# user's text or path.
_stderr = Console(stderr=True, highlight=False, soft_wrap=True)
_stdout = Console(highlight=False, soft_wrap=True)


# What a terminal would obey, in what a stranger's file says: shown, but for line ends and tabs.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _shown(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def is_main() -> bool:
    """Whether this process is the one that speaks and writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def say(message: str) -> None:
    """A line of talk."""
    if is_main():
        _stderr.print(Text(_shown(message)))


def warn(message: str) -> None:
    """A line the user should not miss."""
    if is_main():
        _stderr.print(Text.assemble(("warning:", "yellow"), f" {_shown(message)}"))


def fail(problems: Sequence[str], remedy: str) -> None:
    """What went wrong and what to do about it."""
    for problem in problems:
        _stderr.print(Text.assemble(("error:", "red"), f" {_shown(problem)}"))
    _stderr.print(Text(_shown(f"{remedy[0].upper()}{remedy[1:]}."), "bold"))


def result(text: str) -> None:
    """A result, on stdout."""
    if is_main():
        _stdout.print(Text(_shown(text)))


def print_json(value: Any) -> None:
    """A result for programs, on stdout: one JSON document."""
    if is_main():
        print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


WIDE = 200  # characters of a line where no terminal says how many fit: a file has room, and programs read lines


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """A table of results, on stdout. Columns of numbers (`:>` before the name) are right-aligned."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        grid.add_row(*(Text(_shown(cell)) for cell in row))
    if title:
        result(title)  # not the table's own: that wraps at the width of the columns
    if is_main():
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
        Console(highlight=False, width=width).print(grid)


def duration(seconds: float) -> str:
    """`45 s`, `3:20`, `2:05:00`: short at every size."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def count(number: float) -> str:
    """`842`, `15.3k`, `2.1M`: a count in four characters or so."""
    if round(number) < 1000:
        return f"{number:.0f}"
    size, unit = next(((s, u) for s, u in ((1e3, "k"), (1e6, "M")) if round(number / s, 1) < 1000), (1e9, "G"))
    return f"{number / size:.1f}{unit}"
