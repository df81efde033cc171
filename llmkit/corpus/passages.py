"""Text files and folders of them → passages to ask: all of them, in order, long ones in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.system.errors import UserError
from llmkit.system.files import read_text

SUFFIXES = (".txt", ".md")  # of the files in a folder that are read
PART = 500_000  # characters, a long book; a longer text is cut, so that memory does not grow with it
SHOWN = 3  # problems listed before "and N more"


@dataclass(frozen=True)
class Passage:
    """A text, or a part of one: the `start`th character and the `line`th line of a file are its first."""

    file: Path
    text: str
    start: int
    line: int


def text_files(places: Sequence[Path]) -> list[Path]:
    """Files as they are named, and the text files under folders, sorted, each once; hidden ones are left out.

    Raises UserError for what is not there, and for a folder without text.
    """
    found: dict[Path, Path] = {}
    for place in places:
        files = [place]
        if place.is_dir():
            files = [file for file in sorted(place.rglob("*")) if _is_text(file, place)]
            if not files:
                raise UserError(
                    f"{place} holds no text to read ({', '.join(SUFFIXES)})", remedy="give a file or another folder"
                )
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _is_text(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in SUFFIXES and not hidden and file.is_file()


def characters_of(files: Sequence[Path]) -> int:
    """The characters in all files. Raises UserError for those that are no text, and where there is none."""
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
        raise UserError(*problems[:SHOWN], *([f"… and {more} more like it"] if more > 0 else []), remedy=remedy)
    if not total:
        raise UserError("all files are empty", remedy="give some text to read")
    return total


def passages_of(files: Sequence[Path]) -> Iterator[Passage]:
    """The text of every file, in parts of up to PART characters that end with a line where there is one."""
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
