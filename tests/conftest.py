"""What all tests share: a cache of their own, no network, one thread a process, and small fixtures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support import Command

# The first example may wait for imports, and every one for other tests: time says nothing here.
settings.register_profile("llmkit", deadline=None)
settings.register_profile("long", deadline=None, max_examples=16_000)
settings.load_profile("llmkit")

# Before any library reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Every processor computes in float32, one with bf16 instructions too.
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("COLUMNS", "160")
for _name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "XDG_CACHE_HOME"):
    os.environ.pop(_name, None)


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    root = tmp_path_factory.getbasetemp()
    # One worker's files are found by the others: the demo corpus is tokenized once for all of them.
    shared = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    patch.setenv("LLMKIT_CACHE", str(shared / "llmkit-cache"))
    patch.setenv("HF_HOME", str(root / "huggingface"))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data, or a skip."""
    folder = os.environ.get("LLMKIT_TEST_DATA")
    if not folder:
        # Real data has licences of its own and is not in the repository: where there is none, what can be
        # tested without it still is.
        pytest.skip("LLMKIT_TEST_DATA is not set")
    return Path(folder)


@pytest.fixture
def llmkit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run a command as a user does, in a folder of its own: `llmkit("eval", "x")` → (exit code, stdout, stderr)."""
    from llmkit.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["llmkit", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
