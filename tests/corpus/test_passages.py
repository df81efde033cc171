"""Which files of a folder are texts to search."""

from __future__ import annotations

import gzip
from pathlib import Path

from llmkit.corpus.passages import characters_of, passages_of, text_files


def test_the_texts_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.TXT").write_text("one")
    (tmp_path / "b.md").write_text("two")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"three"))
    (tmp_path / "d.csv").write_text("text\nfour\n")
    files = text_files([tmp_path])
    assert [passage.text for passage in passages_of(files)] == ["one", "two", "three"]
    assert characters_of(files) == 11
