# ruff: noqa: E501 - a case a line
"""Tables as they are written: quoted or not, by whichever separator, and what hides in them."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmkit.system.errors import UserError
from llmkit.tasks.rows.formats import file_rows

COLUMNS = ("text", "label")


def read(folder: Path, content: str | bytes, name: str = "t.csv") -> list[dict[str, str]]:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return [row for _, row in file_rows(file, COLUMNS)]


def fields(folder: Path, content: str | bytes, name: str = "t.csv") -> list[list[str]]:
    return [list(row.values()) for row in read(folder, content, name)]


def refusal(folder: Path, content: str | bytes, name: str = "t.csv") -> str:
    with pytest.raises(UserError) as caught:
        read(folder, content, name)
    return f"{caught.value}: {caught.value.remedy}".replace(f"{folder}/", "")


RIGHT: dict[str, tuple[str, str, list[list[str]]]] = {
    "lone marks in a .csv file": (
        "t.csv",
        'label,text\nno,"Velmora burns said Ines\nyes,red\nno,"we saw it said Tomas\nyes,ships\n',
        [["no", '"Velmora burns said Ines'], ["yes", "red"], ["no", '"we saw it said Tomas'], ["yes", "ships"]],
    ),
    "text after a mark": ("t.csv", 'a,b\n"Hello" he said,x\ny,z\n', [['"Hello" he said', "x"], ["y", "z"]]),
    "inches": ("t.csv", 'a,b\n5" pipe,x\n"6"" pipe, new",y\n', [['5" pipe', "x"], ['6" pipe, new', "y"]]),
    "lines in a field": ("t.csv", 'a,b\n"x\ny\n\nz",1\n', [["x\ny\n\nz", "1"]]),
    "GLUE": ("t.tsv", 'a\tb\n"Hello," he said.\tx\n5" pipe\ty\n"All of it."\tz\n', [['"Hello," he said.', "x"], ['5" pipe', "y"], ['"All of it."', "z"]]),
    "a lone mark in a .tsv file": ("t.tsv", 'a\tb\n"open\t1\nx\t2\n', [['"open', "1"], ["x", "2"]]),
    "marks around text in a .tsv file": ("t.tsv", 'a\tb\n"Great film!"\t1\nx\t2\n', [['"Great film!"', "1"], ["x", "2"]]),
    "pandas .tsv": ("t.tsv", 'a\tb\n"x\ty"\t1\n"say ""hi"""\t2\n"two\nlines"\t3\nplain\t4\n', [["x\ty", "1"], ['say "hi"', "2"], ["two\nlines", "3"], ["plain", "4"]]),
    "Excel .tsv": ("t.tsv", 'a\tb\r\n"Hello, you"\t1\r\n', [["Hello, you", "1"]]),
    "all quoted .tsv": ("t.tsv", '\n"a"\t"b"\n"x"\t"1"\n', [["x", "1"]]),
    "semicolons": ("t.csv", 'a;b\n"x;y";1,5\n', [["x;y", "1,5"]]),
    "tabs in a .csv file": ("t.csv", "a\tb\nx, y\t1\n", [["x, y", "1"]]),
    "commas in a .tsv file": ("t.tsv", 'a,b\n"x, y",1\n', [["x, y", "1"]]),
    "commas in the names of a table by semicolons": ("t.csv", "text;lang,x;label\na, b;c;1\n", [["a, b", "c", "1"]]),
    "a quoted name": ("t.csv", '"text; or a; b",label\nx,1\n', [["x", "1"]]),
    "the separator named for Excel": ("t.csv", 'sep=;\r\na;b,c,d\r\n"x;y";1,5\r\n', [["x;y", "1,5"]]),
    "a tab named for Excel": ("t.tsv", 'SEP=\t\n"a"\t"b"\n"x"\t"1"\n', [["x", "1"]]),
    "one column": ("t.csv", "text\nx; y\n\nz\n", [["x; y"], ["z"]]),
    "Windows": ("t.csv", "\ufeffa,b\r\nx,1\r\n\r\ny,2\r\n", [["x", "1"], ["y", "2"]]),
    "an index without a name": ("t.csv", ",a,\n0,x,\n1,y,\n", [["x"], ["y"]]),
    "blanks around names": ("T.CSV", " a , b \nx,1\n", [["x", "1"]]),
    "no rows": ("t.csv", "a,b\n", []),
    "nothing": ("t.csv", "", []),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_a_table_is_read_as_it_is_written(case: str, tmp_path: Path) -> None:
    name, content, expected = RIGHT[case]
    assert fields(tmp_path, content, name) == expected


WRONG: dict[str, tuple[str | bytes, str]] = {
    "never closed": ('a,b\n"x, y",1\nz,"2\nw,3\n', "t.csv:3: a quotation mark opens a field that is never closed"),
    "text after the mark": ('a,b\n"x, y",1\n"z" w,3\n', "t.csv:3: a quotation mark opens a field, and text follows the mark that closes it in line 3"),
    "too many fields": ("a,b\nx,1\ny,z,2\n", "t.csv:3: the number of fields differs from the header's: 3, not 2"),
    "too few fields": ('a,b\n"x\n",1\ny\n', "t.csv:4: the number of fields differs from the header's: 1, not 2"),
    "columns of one name": ("text,label,text\nx,1,y\n", "t.csv:1: two columns are named 'text': rename or remove"),
    "NUL bytes": ("a,b\nx,1\n\0,2\n", "t.csv:3: a NUL byte"),
    "UTF-16": ("a,b\nx,1\n".encode("utf-16"), "t.csv:1: not UTF-8 text but UTF-16 (byte 0 of the line): save the file as UTF-8 (in Excel: CSV UTF-8), or convert it: iconv -f UTF-16 -t UTF-8 t.csv > new-t.csv"),
    "Latin 1": ("a,b\n\xe9,1\n".encode("latin-1"), "t.csv:2: not UTF-8 text (byte 0 of the line): "),
    "line ends of an old Macintosh": ("a,b\rx,1\r", "t.csv:1: a carriage return inside the line"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_table_that_cannot_be_read_names_the_line_and_the_cure(case: str, tmp_path: Path) -> None:
    content, told = WRONG[case]
    assert refusal(tmp_path, content).startswith(told)


def test_a_mark_that_may_have_swallowed_rows_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mark of the first row is closed by chance, at the end of another row: it reads well, as one row."""
    (tmp_path / "t.csv").write_text('label,text\nno,"Velmora burns\nyes,red\nno,he said "\nyes,ships\n')
    for _ in range(2):
        rows = [list(row.values()) for _, row in file_rows(tmp_path / "t.csv", COLUMNS)]
        assert rows == [["no", "Velmora burns\nyes,red\nno,he said "], ["yes", "ships"]]
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert "1 quoted field runs over several lines that look like rows of their own, first in lines 2 to 4" in told
    assert fields(tmp_path, 'label,text\nno,"Dear Ines,\n\nthe lamp is red.\nTomas"\n') != []
    assert capsys.readouterr().err == ""


def test_a_row_s_place_is_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n"x\ny",1\n\nz,2\n')
    assert [place.rpartition(":")[2] for place, _ in file_rows(tmp_path / "t.csv", COLUMNS)] == ["2", "5"]


def test_compressed_tables(tmp_path: Path) -> None:
    assert fields(tmp_path, gzip.compress(b"a,b\nx,1\n"), "t.csv.gz") == [["x", "1"]]
    assert fields(tmp_path, gzip.compress(b"a\tb\nx\t1\n"), "t.TSV.GZ") == [["x", "1"]]
    assert "damaged" in refusal(tmp_path, gzip.compress(b"a,b\nx,1\n")[:-9], "u.csv.gz")


TEXT = st.text(st.sampled_from('ab ,;\t"\né日'), max_size=12)
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)
SLOW = [HealthCheck.function_scoped_fixture]


@given(ROWS, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]))
@settings(suppress_health_check=SLOW)
def test_what_a_writer_of_csv_wrote_comes_back(
    tmp_path: Path, rows: list[tuple[str, str]], quoting: int, end: str
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]  # one of its constants
    writer.writerows([("a", "b"), *rows])
    assert fields(tmp_path, out.getvalue()) == [list(row) for row in rows]


@given(ROWS, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
@settings(suppress_health_check=SLOW)
def test_what_a_writer_of_tsv_wrote_comes_back(tmp_path: Path, rows: list[tuple[str, str]], quoting: int) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter="\t", lineterminator="\n", quoting=quoting)  # type: ignore[arg-type]  # as above
    writer.writerows([("a", "b"), *rows])
    assert fields(tmp_path, out.getvalue(), "t.tsv") == [list(row) for row in rows]
