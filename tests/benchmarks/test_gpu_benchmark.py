"""The benchmark for GPUs, in tiny sizes on whatever is here: its parts, its table, and what an error does."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def benchmark(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "-o", str(output), "--tiny", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def parts_of(output: Path) -> dict[str, dict[str, Any]]:
    parts: dict[str, dict[str, Any]] = json.loads((output / "gpu.json").read_text())["parts"]
    return parts


@pytest.mark.slow
def test_every_part(tmp_path: Path) -> None:
    done = benchmark(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = parts_of(tmp_path)
    for name in ("pretrain-short", "pretrain-long", "whole-short", "finetune", "padded-short", "padded-long"):
        assert found[name]["tokens_per_second"] > 0
    assert found["padded-short"]["real_token_share"] < 1 == found["pretrain-short"]["real_token_share"]
    assert found["agreement"]["gradient_cosine"] > 0.99
    assert found["deterministic"]["same_bits"]
    assert found["finetune"]["squad_two_epochs_seconds"] > 0
    table = (tmp_path / "gpu.md").read_text()
    assert table in done.stdout
    assert all(f"{name}.log" in {file.name for file in tmp_path.iterdir()} for name in ("data", "finetune", "resume"))
    assert table.count("× transformers") == 3


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("gpu")


def test_what_fails_does_not_stop_the_others(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def part_named(name: str) -> Callable[[object], dict[str, Any]]:
        if name == "agreement":
            raise ValueError("no such batch")
        return lambda bench: {"tokens_per_second": 20_000.0 if name == "padded-short" else 50_000.0}

    monkeypatch.setattr(gpu, "part_named", part_named)
    chosen = ["agreement", "pretrain-short", "padded-short"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "-o", str(tmp_path), "--tiny", "--only", *chosen])
    assert gpu.main() == 1
    found = parts_of(tmp_path)
    assert list(found) == ["data", *chosen]
    assert "no such batch" in found["agreement"]["error"]
    table = capsys.readouterr().out
    assert "error: ValueError: no such batch" in table
    assert "50,000 tokens/s, 2.5 × transformers" in table
    assert not list(tmp_path.glob("*.partial"))


def test_what_does_not_fit_is_skipped(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "-o", str(tmp_path), "--tiny", "--budget", "5"])
    assert gpu.main() == 0
    found = parts_of(tmp_path)
    assert list(found) == [part.name for part in gpu.PARTS]
    assert all("skipped" in figures for figures in found.values())
    assert capsys.readouterr().out.count("skipped") == len(gpu.WHAT)


def test_a_part_that_takes_too_long_is_ended(gpu: ModuleType, tmp_path: Path) -> None:
    part = gpu.Part("padded-short", 0.1, 0.1)
    assert "ended after 0 s" in gpu._in_a_process(part, tmp_path, 0.1, tmp_path)["error"]


def test_the_end_of_what_a_part_printed_is_its_error(gpu: ModuleType, tmp_path: Path) -> None:
    assert "KeyError: 'nothing'" in gpu._in_a_process(gpu.Part("nothing", 1, 9), tmp_path, 60, tmp_path)["error"]
