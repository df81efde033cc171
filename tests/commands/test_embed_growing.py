"""A file of texts that grows while `llmkit embed` writes the vectors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from llmkit.commands import texts
from llmkit.commands.embed import _write_parquet
from llmkit.system.errors import UserError


@pytest.mark.parametrize("before", [14, 16])  # the last chunk is longer, or there is one more
def test_it_is_noticed(before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "CHUNK_TEXTS", 8)
    source, raw, whole = tmp_path / "t.txt", tmp_path / "raw", tmp_path / "whole"
    source.write_text("a ship\n" * before)
    raw.write_bytes(np.zeros((before, 2), np.float32).tobytes())
    found, done = texts.Texts(str(source), "text"), texts.Done()
    for chunk in found.chunks():
        done = done.plus(chunk)
    prepared: Any = SimpleNamespace(
        embedder=SimpleNamespace(dim=2),
        texts=found,
        key={"options": {}, "llmkit": "1"},
        file=SimpleNamespace(path=tmp_path / "v.parquet"),
    )
    _write_parquet(prepared, done, raw, whole)
    assert len(pq.read_table(whole)) == before
    with source.open("a") as file:
        file.write("a ship\n" * 4)
    with pytest.raises(UserError, match="has changed while it was embedded"):
        _write_parquet(prepared, done, raw, whole)
    assert not whole.exists()
