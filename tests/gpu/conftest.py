"""What the tests on a GPU share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.runs import demo_questions

from llmkit.corpus.tokenizer import save_tokenizer
from llmkit.corpus.vocabularies import train_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to train in, which holds a tokenizer of 400 tokens for the demo's passages."""
    contexts = [row["context"] for row in demo_questions("train")[:64]]
    save_tokenizer(train_tokenizer(lambda: iter(contexts), 400, lowercase=True), tmp_path / "tokenizer")
    return tmp_path
