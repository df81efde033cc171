"""How a table is written: its separator, and whether quotation marks enclose fields or belong to the text.

Formats do not say it. The .tsv files of GLUE quote nothing and contain lone quotation marks; pandas and Excel write
.tsv files with quoted fields. Excel separates the fields of .csv files by semicolons in half of Europe. So the whole
file decides: it is read as CSV's standard (RFC 4180) says where that fits, and its marks are text where only that fits.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import text_lines

MARK = '"'
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_EXCEL = re.compile(r"(?i)sep=([,;\t])\r?\n?")  # a first line that names the separator
_INNER = r'[^"]*(?:""[^"]*)*'  # of a quoted field
_FIELD = rf'(?:"{_INNER}"|[^"\t\r\n]*)'
_QUOTED = re.compile(rf'"{_INNER}"')
_QUOTED_TABS = re.compile(rf"{_FIELD}(?:\t{_FIELD})*\r?\n?")
_QUOTED_FIELD = re.compile(rf'(?:^|\t)"({_INNER})"')


@dataclass(frozen=True)
class Layout:
    """The separator of fields. If not `quoted`, quotation marks are text like any other."""

    separator: str
    quoted: bool

    @property
    def separator_name(self) -> str:
        """The separator in words."""
        return _NAMES[self.separator]


def records(
    file: Path, layout: Layout, read: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, fields) of each record that is not blank. `read` is called with each line.

    Raises UserError with the line if the file is not written in this layout.
    """
    csv.field_size_limit(2**31 - 1)  # passages may exceed the default of 131,072 characters

    def lines() -> Iterator[str]:
        for number, line in _lines(file):
            if "\0" in line:
                raise UserError(
                    f"{file}:{number}: a NUL byte, which no text contains", remedy="save the table again as UTF-8 text"
                )
            read(line)
            yield line

    reader = csv.reader(
        lines(),
        delimiter=layout.separator,
        quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _as_user_error(error, f"{file}:{start}", reader.line_num) from None
        if fields:
            yield start, fields


def _as_user_error(error: csv.Error, place: str, end: int) -> UserError:
    message = str(error)
    if "new-line" in message:
        return UserError(
            f"{place}: a carriage return inside the line", remedy="save the table with the line ends of Unix or Windows"
        )
    if "unexpected end" in message:
        what = "a quotation mark opens a field that is never closed"
    elif "expected after" in message:
        what = f"a quotation mark opens a field, and text follows the mark that closes it in line {end}"
    else:
        what = message
    return UserError(
        f"{place}: {what}",
        remedy="quote the whole field and double the marks inside it, or save the rows as JSON lines (.jsonl)",
    )


def layout_of(file: Path, separator: str) -> Layout:
    """The layout of a table. `separator` is the usual one; another is taken if it occurs more often in the header.

    Reads the file, once in a process while it does not change. Warns about rows that a lone quotation mark may have
    swallowed.
    """
    try:
        state = file.stat()
    except OSError:  # reading it will say so
        return Layout(separator, quoted=True)
    return _layout_of(file, separator, (state.st_size, state.st_mtime_ns))


@cache
def _layout_of(file: Path, usual: str, state: tuple[int, int]) -> Layout:
    separator = _separator(file, usual)
    quoted, literal = Layout(separator, quoted=True), Layout(separator, quoted=False)
    if separator == "\t":
        return quoted if _marks_enclose(file) and _fits(file, quoted) else literal
    swallowed: list[tuple[int, int]] = []
    if _fits(file, quoted, swallowed):
        if swallowed:
            _warn_of_swallowed_rows(file, swallowed)
        return quoted
    # Quoted fields elsewhere mean that the file is quoted, and that a line in it is wrong.
    return literal if _fits(file, literal, without_enclosed=True) else quoted


def _separator(file: Path, usual: str) -> str:
    """The separator that Excel's first line names, or the one that occurs most often in the header."""
    header = next((line for _, line in text_lines(file) if line.strip()), "")
    if named := _EXCEL.fullmatch(header):
        return named[1]
    unquoted = _QUOTED.sub("", header)
    return max((usual, ";", "\t", ","), key=unquoted.count)  # the usual one on a tie


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a table. Excel's line that names the separator is blank."""
    for number, line in text_lines(file):
        yield number, "\n" if number == 1 and _EXCEL.fullmatch(line) else line


def _fits(
    file: Path, layout: Layout, swallowed: list[tuple[int, int]] | None = None, *, without_enclosed: bool = False
) -> bool:
    """Whether each record has as many fields as the first. A field is enclosed if a mark is at both its ends.

    Adds to `swallowed` the first and last lines of fields whose every line looks like a row.
    """
    lines: list[str] = []  # of a record
    width = 0
    try:
        for line, fields in records(file, layout, lines.append):
            width = width or len(fields)
            if len(fields) != width or (without_enclosed and any(map(_is_enclosed, fields))):
                return False
            rows = len(lines) > 1 and all(part.count(layout.separator) == width - 1 for part in lines)
            if rows and swallowed is not None:
                swallowed.append((line, line + len(lines) - 1))
            lines.clear()
    except UserError:
        return False
    return True


def _is_enclosed(field: str) -> bool:
    return len(field) > 1 and field.startswith(MARK) and field.endswith(MARK)


def _marks_enclose(file: Path) -> bool:
    """Whether each quotation mark of a .tsv file belongs to a field that is quoted, and that needs it.

    Writers quote a field that contains a separator, a mark or a line end, Excel also one with a comma; or they quote
    all text, the header included. Anything else is text that happens to begin and end with a mark.
    """
    lines: list[str] = []
    marks, all_quoted, is_header = 0, False, True
    for _, line in _lines(file):
        lines.append(line)
        marks += line.count(MARK)
        if marks % 2:  # within a quoted field, unless nothing is quoted here
            continue
        if marks:
            record = "".join(lines)
            if not _QUOTED_TABS.fullmatch(record):
                return False
            inner = _QUOTED_FIELD.findall(record)
            all_quoted = all_quoted or (is_header and len(inner) == record.count("\t") + 1)
            if not all_quoted and not all(re.search(r'[\t,"\r\n]', field) for field in inner):
                return False
        lines.clear()
        marks, is_header = 0, is_header and not line.strip()
    return not lines


def _warn_of_swallowed_rows(file: Path, found: list[tuple[int, int]]) -> None:
    first, last = found[0]
    warn(
        f"{file}: {len(found):,} quoted field{'s run' if len(found) > 1 else ' runs'} over several lines that look "
        f"like rows of their own, first in lines {first} to {last}; if they are rows, double the quotation mark "
        "in the first one and quote the field"
    )
