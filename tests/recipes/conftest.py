"""A recipe of each kind in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.recipes import FINETUNE, PRETRAIN


@pytest.fixture
def pretrain_file(tmp_path: Path) -> Path:
    path = tmp_path / "pretrain.yaml"
    path.write_text(PRETRAIN, encoding="utf-8")
    return path


@pytest.fixture
def finetune_file(tmp_path: Path) -> Path:
    path = tmp_path / "finetune.yaml"
    path.write_text(FINETUNE, encoding="utf-8")
    return path
