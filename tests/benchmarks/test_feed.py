"""The benchmark of feeding, on a small corpus."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import run_command, write_demo_text

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path) -> None:
    text = write_demo_text(tmp_path)
    run_command("tokenize", "-c", str(text), "-o", "shards", "tokenizer.vocab_size=400", cwd=tmp_path)
    command = [sys.executable, "benchmarks/feed.py", "--corpus", str(tmp_path / "shards"), "--runs", "1"]
    done = subprocess.run([*command, "--batches", "3"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("llmkit", "run_mlm.py's feeding", "llmkit, whole words"):
        assert done.stdout.count(f"| {name} |") == 2, "blocks of 128 and of 512"
