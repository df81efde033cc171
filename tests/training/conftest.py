"""What the tests of training share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.runs import demo_questions
from support.runs import quick_collections as quick_collections  # a fixture

from llmkit.corpus.tokenizer import save_tokenizer
from llmkit.corpus.vocabularies import train_tokenizer


@pytest.fixture(scope="session")
def demo_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 400 tokens for the demo's passages."""
    contexts = [row["context"] for row in demo_questions("train")[:64]]
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer(lambda: iter(contexts), 400, lowercase=True), folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, demo_tokenizer: Path) -> Path:
    """A folder to train in, which holds the tokenizer."""
    shutil.copytree(demo_tokenizer, tmp_path / "tokenizer")
    return tmp_path
