"""CoNLL's columns: a word a line, its tag in the last column, and an empty line behind a sentence.

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
from llmkit.tasks.values import Placed

DOCUMENT = "-DOCSTART-"
_Line = tuple[int, list[str]]


def sentences(file: Path, columns: Sequence[str]) -> Iterator[Placed]:
    """A row a sentence, of `tokens` and `tags`; its place is its first line.

    Columns are parted by tabs, or where a line has none by blanks. Lines that begin documents are passed over, and
    comments before a sentence. Raises UserError for a line that does not have as many columns as those around it.
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
    """What a line holds. A word may hold other white space, such as a blank that does not break."""
    line = line.rstrip("\r\n")
    if not line.strip():
        return []
    return line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))


def _sentence(file: Path, lines: list[_Line]) -> Placed:
    widths = Counter(len(fields) for _, fields in lines)
    width = max(widths, key=lambda size: (widths[size], size))  # what most lines have
    # `# text = …`, as CoNLL-U has it: no word in as many columns as the others.
    while len(lines) > 1 and lines[0][1][0].split(" ")[0] == "#" and len(lines[0][1]) != width:
        lines = lines[1:]
    for number, fields in lines:
        if len(fields) != width or width < 2:
            others = f", others of the sentence have {width}" if width > 1 else ""
            raise UserError(
                f"{file}:{number}: {len(fields)} column{'s' if len(fields) > 1 else ''}{others}",
                remedy="give a word a line, with its tag in the last column, and an empty line behind each sentence",
            )
    row = {"tokens": [fields[0] for _, fields in lines], "tags": [fields[-1] for _, fields in lines]}
    return f"{file}:{lines[0][0]}", row
