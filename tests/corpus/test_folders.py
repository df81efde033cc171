"""What is in a folder is read or counted aloud, whatever leads to it."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Command

from llmkit.corpus.folders import files_in
from llmkit.corpus.sources import open_source
from llmkit.recipes.corpus import Source
from llmkit.system.errors import UserError
from llmkit.system.formats import format_of
from llmkit.system.json_rows import json_rows


def documents(path: Path | str, **options: Any) -> list[str]:
    return [text for text in open_source(Source(path=str(path), **options)).documents() if text.strip()]


def json_lines(file: Path, texts: list[str]) -> None:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def json_list(file: Path, texts: list[str]) -> None:
    file.write_text(json.dumps([{"text": text} for text in texts], indent=1))


def json_data(file: Path, texts: list[str]) -> None:
    file.write_text(json.dumps({"version": 1, "data": [{"text": text} for text in texts]}))


def table(file: Path, texts: list[str]) -> None:
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["year", "text"], *([n, text] for n, text in enumerate(texts))])


def zstandard(content: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(content)
    return bytes(packed.getvalue().to_pybytes())


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard}


def packed(write: Callable[[Path, list[str]], None]) -> Callable[[Path, list[str]], None]:
    def write_packed(file: Path, texts: list[str]) -> None:
        plain = file.with_suffix("")
        write(plain, texts)
        file.write_bytes(COMPRESS[file.suffix](plain.read_bytes()))
        plain.unlink()

    return write_packed


WRITERS = {
    "a.csv": table,
    "a.CSV": table,
    "a.csv.gz": packed(table),
    "a.json": json_list,
    "a.json ": json_lines,
    "a.json  ": json_data,
    "a.json.gz": packed(json_list),
    "a.jsonl.gz": packed(json_lines),
    "a.csv.bz2": packed(table),
    "a.json.xz": packed(json_list),
    "a.jsonl.zst": packed(json_lines),
}
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=5)


@pytest.mark.parametrize("name", WRITERS)
@given(written=texts)
def test_every_format_gives_back_its_texts(
    name: str, written: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("text") / name.strip()
    WRITERS[name](file, written)
    assert documents(file) == [text for text in written if text.strip()]


def test_tab_separated_text_quotes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('n\ttext\n1\t"Yes", he said\n2\tan inch: 1"\n')
    assert documents(tmp_path / "a.tsv") == ['"Yes", he said', 'an inch: 1"']


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'text,n\n"a, b",1\n"open,2\n', "a.csv:3: a quotation mark opens a field that is never closed"),
        ("a.csv", "text,n\nx\n", "a.csv:2: the number of fields differs from the header's: 1, not 2"),
        ("a.csv", "body,n\nx,1\n", "a.csv has no column 'text'; columns are body, n"),
        (
            "a.json",
            '{\n "a": 1\n}',
            "a.json: neither a list of rows nor an object with a list named 'data'",
        ),
        ("a.json", '[{"text": "x"}, {"text": 1}]', "a.json: data[1]: column 'text' does not hold text"),
        *((f"a.txt{end}", "not compressed", f"a.txt{end}: damaged after line 0: ") for end in COMPRESS),
    ],
)
def test_bad_files_are_named_with_the_place(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        documents(tmp_path / name)
    assert message in str(caught.value)


@pytest.mark.parametrize("end", COMPRESS)
def test_files_that_end_too_soon_are_damaged(end: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(33, 127, 100_000).astype(np.uint8).tobytes()
    (tmp_path / f"a.txt{end}").write_bytes(COMPRESS[end](b"a line\n" + random)[:-9])
    with pytest.raises(UserError, match=r"a\.txt\..*: damaged after line [012]: "):
        documents(tmp_path / f"a.txt{end}")


@pytest.mark.parametrize("end", COMPRESS)
def test_files_that_were_joined_are_read_to_the_end(end: str, tmp_path: Path) -> None:
    (tmp_path / f"a.txt{end}").write_bytes(COMPRESS[end](b"one\n") + COMPRESS[end](b"two\n"))
    assert documents(tmp_path / f"a.txt{end}") == ["one\n", "two\n"]


def test_a_file_that_is_alone_is_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "parts.txt").write_text("\none\ntwo\n\nthree\n")
    (tmp_path / "lines.md").write_text("one\ntwo\n\n")
    (tmp_path / "line.txt").write_text("one")
    assert [text.split() for text in documents(tmp_path / "parts.txt")] == [["one", "two"], ["three"]]
    assert "each part between blank lines is a document; documents=file" in capsys.readouterr().err
    assert [text.strip() for text in documents(tmp_path / "lines.md")] == ["one", "two"]
    assert "each line is a document" in capsys.readouterr().err
    assert documents(tmp_path / "line.txt") == ["one"]
    assert len(documents(tmp_path)) == 3, "each of several files is one"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "content",
    [
        '{"text": "a"}\n\n{"text": null}\n{"text": "c"}\n',
        '[{"text": "a"}, {"text": null}, {"text": "c"}]',
        '{"data": [{"text": "a"}, {"text": null}, {"text": "c"}]}',
        '{"text": "a"}\n{\n"text": null\n}\n{"text": "c"}',
        '{"text": "a"} {"text": null} {"text": "c"}',
    ],
)
def test_json_of_any_form_where_null_is_no_text(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    assert list(open_source(Source(path=str(tmp_path / "a.json"))).documents()) == ["a", "", "c"]


def test_json_of_one_object_of_no_text_and_of_lines(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{\n"text": "a"\n}\n')
    (tmp_path / "none.json").write_text("\n")
    (tmp_path / "lines.ndjson").write_text('{"text": "a"}\n{"text": null}\n')
    assert documents(tmp_path / "one.json") == ["a"]
    assert documents(tmp_path / "none.json") == []
    assert documents(tmp_path / "lines.ndjson") == ["a"]


def test_json_lines_are_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n{"text": 1}\n')
    (_, first), (_, second) = islice(json_rows(tmp_path / "a.json", ["text"], ""), 2)
    assert [first, second] == [{"text": "a"}, {"text": "b"}]
    (tmp_path / "a.json").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n{"te\n')
    with pytest.raises(UserError, match=r"a.json:4: broken JSON"):
        documents(tmp_path / "a.json")


def test_links_are_followed_and_each_file_is_read_once(tmp_path: Path) -> None:
    corpus, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    (corpus / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    (corpus / "sub" / "a.txt").write_text("first")
    (elsewhere / "b.txt").write_text("second")
    (corpus / "linked").symlink_to(elsewhere)
    (corpus / "again").symlink_to(elsewhere)
    (corpus / "sub" / "loop").symlink_to(corpus)
    (elsewhere / "back").symlink_to(corpus / "sub")
    (corpus / "a link.txt").symlink_to(corpus / "sub" / "a.txt")
    (corpus / ".hidden").mkdir()
    (corpus / ".hidden" / "c.txt").write_text("not read")
    assert sorted(documents(corpus)) == ["first", "second"]
    assert files_in(corpus) == sorted(files_in(corpus))


def test_what_is_passed_over_is_counted(tmp_path: Path, llmkit: Command) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.txt").write_text("the ship sails")
    for name in ("a.pdf", "b.PDF", "c.docx", "LICENSE", "d.tar.gz", "e.parquet.gz"):
        (folder / name).write_text("x")
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    code, _, err = llmkit("tokenize", "-c", "corpus", "tokenizer.vocab_size=100")
    assert code == 0, err
    told = (
        "corpus: passed over 7 files: .pdf (2), without a suffix (1), .docx (1), .tar.gz (1), .parquet.gz (1), "
        "broken links (1)"
    )
    assert told in err
    code, _, err = llmkit("tokenize", "-c", "corpus/*.t*", "tokenizer.vocab_size=100")
    assert "corpus/*.t*: passed over 2 files: .tar.gz (1), broken links (1)" in err


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.txt", ".txt"), ("a.TXT", ".txt"), ("a.b.jsonl.gz", ".jsonl"), ("a", ""), ("a.gz", ""), ("A.TXT.GZ", ".txt")],
)
def test_the_end_of_a_name(name: str, kind: str) -> None:
    assert format_of(name) == kind
