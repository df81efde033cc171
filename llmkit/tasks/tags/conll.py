"""The CoNLL format: one word per line, its tag in the last column, and an empty line after each sentence.

EU NNP B-NP B-ORG
rejects VBZ B-VP O
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmkit.system.errors import UserError
from llmkit.system.files import text_lines
from llmkit.tasks.values import LocatedRow

DOCUMENT = "-DOCSTART-"
_Line = tuple[int, list[str]]


def sentences(file: Path, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """One row per sentence, with `tokens` and `tags`; its place is its first line.

    Columns are separated by tabs, or by spaces if a line has no tab. Document markers and comments before a sentence
    are skipped. Raises UserError if a line's number of columns differs from the rest of its sentence.
    """
    lines: list[_Line] = []
    for number, line in text_lines(file):
        fields = _fields(line)
        if fields and fields[0] != DOCUMENT:
            lines.append((number, fields))
        elif lines:
            yield _sentence(file, lines)
            lines = []
    if lines:
        yield _sentence(file, lines)


def _fields(line: str) -> list[str]:
    """The columns of a line. A word may contain other white space, such as a no-break space."""
    line = line.rstrip("\r\n")
    if not line.strip():
        return []
    return line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))


def _sentence(file: Path, lines: list[_Line]) -> LocatedRow:
    widths = Counter(len(fields) for _, fields in lines)
    width = max(widths, key=lambda size: (widths[size], size))  # of most lines
    # A comment as in CoNLL-U, `# text = …`. A word `#` has as many columns as the other words.
    while len(lines) > 1 and lines[0][1][0].split(" ")[0] == "#" and len(lines[0][1]) != width:
        lines = lines[1:]
    for number, fields in lines:
        if len(fields) != width or width < 2:
            rest = f", but the rest of the sentence has {width}" if width > 1 else ""
            raise UserError(
                f"{file}:{number}: {len(fields)} column{'s' if len(fields) > 1 else ''}{rest}",
                remedy="write one word per line, its tag in the last column, and an empty line after each sentence",
            )
    row = {"tokens": [fields[0] for _, fields in lines], "tags": [fields[-1] for _, fields in lines]}
    return f"{file}:{lines[0][0]}", row
