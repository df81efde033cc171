"""What the tests of commands share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.runs import finetuned, pretrained
from support.runs import quick_collections as quick_collections  # fixtures for all tests here
from support.runs import untraced_exports as untraced_exports


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which runs/squad was trained, on squad.jsonl."""
    folder = tmp_path_factory.mktemp("runs")
    pretrained(folder)
    finetuned(folder, "squad")
    return folder


@pytest.fixture
def finished_run(runs: Path, tmp_path: Path) -> Path:
    """A finished run to do anything with."""
    return Path(shutil.copytree(runs / "runs" / "squad", tmp_path / "run"))
