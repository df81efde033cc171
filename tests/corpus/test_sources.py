"""Every form of text file gives back the documents that were written into it, or says where it is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.corpus.demo import data as demo
from llmkit.corpus.sources import open_source
from llmkit.recipes.corpus import Source
from llmkit.system.errors import UserError

# What UTF-8 can hold; U+2028 and \x85 end lines for Python, and must not for a JSON-lines file.
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028\x85\x0b\r\n\x00")))
words = st.text(st.sampled_from("aé漢-"), min_size=1, max_size=5)
lines = st.lists(words, min_size=1, max_size=4).map(" ".join)
paragraphs = st.lists(st.lists(lines, min_size=1, max_size=3), min_size=1, max_size=5)


def documents(path: Path, **options: Any) -> list[str]:
    return list(open_source(Source(path=str(path), **options)).documents())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text")


@given(written=texts, escaped=st.booleans())
def test_json_lines(folder: Path, written: list[str], escaped: bool) -> None:
    rows = [json.dumps({"body": text}, ensure_ascii=escaped) for text in written]
    (folder / "a.jsonl").write_bytes("\n".join(rows).encode())
    assert documents(folder / "a.jsonl", text_column="body") == written


@given(written=texts)
def test_parquet(folder: Path, written: list[str]) -> None:
    table = pa.table({"n": range(len(written)), "body": pa.array(written, pa.large_string())})
    pq.write_table(table, folder / "a.parquet", row_group_size=3)
    assert documents(folder / "a.parquet", text_column="body") == written


@given(written=paragraphs, gap=st.sampled_from(["\n", "\n\n", " \t\n"]), end=st.sampled_from(["\n", "\r\n"]))
def test_parts_between_blank_lines(folder: Path, written: list[list[str]], gap: str, end: str) -> None:
    text = gap.join("".join(line + "\n" for line in part) for part in written).replace("\n", end)
    (folder / "a.txt").write_bytes("\ufeff".encode() + text.encode())
    found = [part.split(end)[:-1] for part in documents(folder / "a.txt", documents="blank_line") if part]
    assert found == written
    assert documents(folder / "a.txt", documents="file") == [text]
    assert [line for line in documents(folder / "a.txt", documents="line") if line.strip()] == [
        line + end for part in written for line in part
    ]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "c.txt").write_text("third")
    (tmp_path / "b" / "x.jsonl").write_text('{"text": "second"}')
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "readme.rst").write_text("not read")
    assert documents(tmp_path) == ["first", "second", "third"]
    assert documents(tmp_path / "*.txt") == ["first", "third"]
    assert documents(tmp_path / "**" / "*.jsonl") == ["second"]


def test_a_source_is_known_by_its_content(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.jsonl").write_text('{"text": "one", "title": "two"}')

    def content(place: str, **options: Any) -> dict[str, Any]:
        return open_source(Source(path=str(tmp_path / place), **options)).content

    assert content("here") == content("there")
    assert content("here") != content("here", text_column="title")
    (tmp_path / "there" / "a.jsonl").write_text('{"text": "one", "title": "three"}')
    assert content("here") != content("there")


def test_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "NUM_DOCUMENTS", 5)
    source = open_source(Source(path="demo"))
    assert list(source.documents()) == list(demo.documents())
    assert len(list(source.documents())) == 5
    monkeypatch.setattr(demo, "NUM_DOCUMENTS", 6)
    assert open_source(Source(path="demo")).content != source.content


def torn_parquet(path: Path) -> None:
    """A parquet file whose footer is right and whose pages are not."""
    pq.write_table(pa.table({"text": [f"sentence {n}" for n in range(5000)]}), path)
    torn = bytearray(path.read_bytes())
    torn[200:4000] = b"\xff" * 3800
    path.write_bytes(torn)


def test_broken_files_are_named_with_the_place(tmp_path: Path) -> None:
    def message(name: str, content: bytes | None = None) -> str:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            documents(tmp_path / name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "a.jsonl:3: \\ud83d is an unpaired surrogate, half a character" in message(
        "a.jsonl", b'{"text": "fine"}\n\n{"text": "an emoji cut in two: \\ud83d"}\n'
    )
    assert "b.jsonl:2: column 'text' does not hold text" in message("b.jsonl", b'{"text": ""}\n{"text": 7}\n')
    assert "c.jsonl:1: broken JSON" in message("c.jsonl", b"\xef\xbb\xbftext\n")
    assert "a.txt:1: not UTF-8 text but UTF-16 (byte 0 of the line)" in message("a.txt", "…".encode("utf-16"))
    torn_parquet(tmp_path / "a.parquet")
    assert "a.parquet: not readable as parquet" in message("a.parquet")
    pq.write_table(pa.table({"text": [["a", "list"]]}), tmp_path / "b.parquet")
    assert "b.parquet: column 'text' does not hold text" in message("b.parquet")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.txt", "no such corpus: none.txt"),
        ("some/deep/folder", "no such corpus: some/deep/folder"),
        ("*.txt", r"no such corpus: \*\.txt"),
        ("*.rst", r"\*\.rst contains no file in a supported format"),
        ("empty", r"empty contains no file in a supported format"),
        ("notes.rst", r"notes\.rst: unsupported format"),
    ],
)
def test_what_is_not_there(path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.rst").write_text("# Notes")
    with pytest.raises(UserError, match=message):
        open_source(Source(path=path))
