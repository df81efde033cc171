"""The CoNLL format: one word per line, its tag in the last column, and an empty line after each sentence.

EU NNP B-NP B-ORG
rejects VBZ B-VP O

And CoNLL-U, the format of Universal Dependencies, whose ten columns begin with a word's number:

1  EU       EU      PROPN  NNP  …
2  rejects  reject  VERB   VBZ  …
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from llmkit.system.errors import UserError
from llmkit.system.files import text_lines
from llmkit.tasks.values import LocatedRow

DOCUMENT = "-DOCSTART-"
UNIVERSAL = 10  # columns of CoNLL-U
_Line = tuple[int, list[str]]


def sentences(file: Path) -> Iterator[LocatedRow]:
    """One row per sentence, with `tokens` and `tags`, or `upos` and `xpos`; its place is its first line.

    A sentence of one column has `tokens` alone: words to tag.

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
    if any(len(fields) == UNIVERSAL and fields[0] == "1" for _, fields in lines):
        # Not comments, nor the ranges of contractions (3-4), nor words that are left out in the text (3.1).
        words = [fields for _, fields in lines if len(fields) == UNIVERSAL and fields[0].isdecimal()]
        form, upos, xpos = ([fields[column] for fields in words] for column in (1, 3, 4))
        return f"{file}:{lines[0][0]}", {"tokens": form, "upos": upos, "xpos": xpos}
    widths = Counter(len(fields) for _, fields in lines)
    width = max(widths, key=lambda size: (widths[size], size))  # of most lines
    # A comment as in CoNLL-U, `# text = …`. A word `#` has as many columns as the other words.
    while len(lines) > 1 and lines[0][1][0].split(" ")[0] == "#" and len(lines[0][1]) != width:
        lines = lines[1:]
    for number, fields in lines:
        if len(fields) != width:
            raise UserError(
                f"{file}:{number}: {len(fields)} column{'s' if len(fields) > 1 else ''}, but the rest of the sentence "
                f"has {width}",
                remedy="write one word per line, its tag in the last column, and an empty line after each sentence",
            )
    row = {"tokens": [fields[0] for _, fields in lines]}
    if width > 1:
        row["tags"] = [fields[-1] for _, fields in lines]
    return f"{file}:{lines[0][0]}", row
