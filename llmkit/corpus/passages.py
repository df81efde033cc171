"""Read text files and folders as passages to search for answers. Long texts are split.

Files with other suffixes than .txt and .md are read only if the user names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.corpus.folders import files_in, kind_of, tell_passed_over
from llmkit.corpus.readers import PLAIN
from llmkit.system.errors import UserError
from llmkit.system.files import read_text
from llmkit.system.formats import is_in

PART = 500_000  # characters, a long book; longer texts are split to bound memory
SHOWN = 3  # problems listed before "and N more"


@dataclass(frozen=True)
class Passage:
    """A text or a part of it. In the file it starts at character `start` and line `line`, both counted from 0."""

    file: Path
    text: str
    start: int
    line: int


def text_files(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and all text files under the folders among them, sorted, without duplicates.

    Says which files of folders it passes over. Raises UserError for a folder without text files; `characters_of`
    reports files that do not exist.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        files = [path]
        if path.is_dir():
            all_files = files_in(path)
            files = [file for file in all_files if is_in(file.name, PLAIN) and file.is_file()]
            if not files:
                raise UserError(
                    f"{path} contains no text files ({', '.join(PLAIN)})", remedy="give a file or another folder"
                )
            tell_passed_over((kind_of(file) for file in all_files if file not in files), path)
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def characters_of(files: Sequence[Path]) -> int:
    """The number of characters in all files. Raises UserError if files cannot be read as text, or if all are empty."""
    total = 0
    problems: list[str] = []
    remedy = ""
    for file in files:
        try:
            total += len(text) if (text := read_text(file)).strip() else 0
        except UserError as error:
            problems += error.problems
            remedy = remedy or error.remedy
    if problems:
        more = len(problems) - SHOWN
        raise UserError(*problems[:SHOWN], *([f"… and {more} more"] if more > 0 else []), remedy=remedy)
    if not total:
        raise UserError("all files are empty", remedy="give a file that contains text")
    return total


def passages_of(files: Sequence[Path]) -> Iterator[Passage]:
    """Yield the text of every file in parts of up to PART characters, split at line ends where possible."""
    for file in files:
        text = read_text(file)
        start, line = 0, 0
        while start < len(text):
            end = start + PART
            if end < len(text):
                end = text.rfind("\n", start, end) + 1 or end
            part = text[start:end]
            if part.strip():
                yield Passage(file, part, start, line)
            start, line = end, line + part.count("\n")
