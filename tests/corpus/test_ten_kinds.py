"""The same documents, in every kind of file and compressed in every way, make the same shards, byte for byte."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmkit.commands.tokenize import prepare, tokenize
from llmkit.corpus.demo.data import documents
from llmkit.corpus.sources import open_source
from llmkit.recipes.corpus import Source, TokenizerSection

TEXTS = [" ".join(text.split()) for text, _ in zip(documents(), range(150), strict=False)]
LINES = "".join(text + "\n" for text in TEXTS).encode()
JSONL = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()


def _table(file: Path, separator: str) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened, delimiter=separator).writerows([["text"], *([text] for text in TEXTS)])


def _write(folder: Path) -> dict[str, Path]:
    """A file of each kind, in a folder of its own."""
    made = {}
    for name in (
        "a.txt", "a.md", "a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet",
        "a.txt.gz", "a.jsonl.zst", "a.txt.bz2", "a.jsonl.xz",
    ):  # fmt: skip
        made[name] = folder / name.replace(".", "-") / name
        made[name].parent.mkdir()
    for name in ("a.txt", "a.md"):
        made[name].write_bytes(LINES)
    made["a.jsonl"].write_bytes(JSONL)
    made["a.json"].write_text(json.dumps([{"text": text} for text in TEXTS]))
    _table(made["a.csv"], ",")
    _table(made["a.tsv"], "\t")
    pq.write_table(pa.table({"text": TEXTS}), made["a.parquet"])
    made["a.txt.gz"].write_bytes(gzip.compress(LINES))
    made["a.jsonl.zst"].write_bytes(pa.compress(JSONL, codec="zstd", asbytes=True))
    made["a.txt.bz2"].write_bytes(bz2.compress(LINES))
    made["a.jsonl.xz"].write_bytes(lzma.compress(JSONL))
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _write(tmp_path_factory.mktemp("kinds"))


def _source(path: Path, *, plain: bool) -> Source:
    return Source(path=str(path), documents="line" if plain else None)


def _shards(source: Source, tokenizer: TokenizerSection, output: Path) -> dict[str, bytes]:
    tokenize(prepare([source], tokenizer, output))
    return {file.name: file.read_bytes() for file in output.glob("*.arrow")}


def test_each_kind_gives_the_same_shards(files: dict[str, Path], tmp_path: Path) -> None:
    expected = _shards(_source(files["a.txt"], plain=True), TokenizerSection(vocab_size=300), tmp_path / "first")
    assert set(expected) == {"train-00000.arrow", "validation-00000.arrow"}
    tokenizer = TokenizerSection(path=str(tmp_path / "first" / "tokenizer"))
    for name, file in files.items():
        source = _source(file, plain=".txt" in name or ".md" in name)
        found = [text.strip() for text in open_source(source).documents()]
        assert [text for text in found if text] == TEXTS, name
        assert _shards(source, tokenizer, tmp_path / f"of-{name}") == expected, name


def test_a_folder_of_all_kinds(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever else is in it is said; links are followed, and one to the folder itself ends."""
    folder = tmp_path / "all"
    folder.mkdir()
    for number, (name, file) in enumerate(files.items()):
        (folder / f"{number:02d}{name.removeprefix('a')}").symlink_to(file)
    (folder / "zz").symlink_to(folder)
    for name in ("x.pdf", "y.pdf", "z.docx"):
        (folder / name).touch()
    found = list(open_source(_source(folder, plain=True)).documents())
    assert [text.strip() for text in found if text.strip()] == TEXTS * len(files)
    assert "passed over 3 files: .pdf (2), .docx (1)" in capsys.readouterr().err
