"""Messages and progress on stderr, results on stdout.

On a terminal, progress is one live line. Elsewhere (a log file, CI) it is a plain line every few seconds. Only the main
process of a run prints.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Messages are printed as rich's Text. In a str, rich would interpret [tags] and :emoji: in users' texts and paths.
_stderr = Console(stderr=True, highlight=False, soft_wrap=True)
_stdout = Console(highlight=False, soft_wrap=True)


# Control characters except newline and tab. They are escaped: text from untrusted files must not control the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def is_main() -> bool:
    """Whether this is the process that prints and writes files."""
    return int(os.environ.get("RANK", "0")) == 0


_hushed = False


@contextmanager
def hushed() -> Iterator[None]:
    """Print no messages, for work that is done again and says the same then. Warnings and errors are printed."""
    global _hushed
    before, _hushed = _hushed, True
    try:
        yield
    finally:
        _hushed = before


def say(message: str) -> None:
    """Print a message."""
    if is_main() and not _hushed:
        _stderr.print(Text(_escape(message)))


def warn(message: str) -> None:
    """Print a warning."""
    if is_main():
        _stderr.print(Text.assemble(("warning:", "yellow"), f" {_escape(message)}"))


def fail(problems: Sequence[str], remedy: str) -> None:
    """Print errors and a remedy, from any process."""
    for problem in problems:
        _stderr.print(Text.assemble(("error:", "red"), f" {_escape(problem)}"))
    _stderr.print(Text(_escape(f"{remedy[0].upper()}{remedy[1:]}."), "bold"))


def result(text: str) -> None:
    """Print a result on stdout."""
    if is_main():
        _stdout.print(Text(_escape(text)))


def print_json(value: Any) -> None:
    """Print a result as a JSON document on stdout."""
    if is_main():
        print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def marked(parts: Iterable[tuple[str, float]]) -> None:
    """Print a text of which parts have weights from -1 to 1, on stdout.

    On a terminal, those of weight are underlined, in green for and in red against, the strongest in bold. Elsewhere
    they are in brackets, with their weights.
    """
    if not is_main():
        return
    shown = Text()
    for part, weight in parts:
        strong, weak = abs(weight) >= 0.5, abs(weight) < 0.1
        style = "" if weak else f"{'bold ' if strong else ''}underline {'green' if weight > 0 else 'red'}"
        plain = weak or sys.stdout.isatty()
        shown.append(_escape(part if plain else f"[{part} {weight:+.2f}]"), style)
    _stdout.print(shown)


WIDE = 200  # characters per line if stdout is not a terminal, so that rows do not wrap in files and pipes


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print a table of results on stdout. Columns whose name starts with `>` are right-aligned."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        grid.add_row(*(Text(_escape(cell)) for cell in row))
    if title:
        result(title)  # rich would wrap the table's own title at the width of the columns
    if is_main():
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
        Console(highlight=False, width=width).print(grid)


def duration(seconds: float) -> str:
    """Format seconds as `45 s`, `3:20` or `2:05:00`."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def count(number: float) -> str:
    """Format a count as `842`, `15.3k` or `2.1M`."""
    if round(number) < 1000:
        return f"{number:.0f}"
    size, unit = next(((s, u) for s, u in ((1e3, "k"), (1e6, "M")) if round(number / s, 1) < 1000), (1e9, "G"))
    return f"{number / size:.1f}{unit}"
