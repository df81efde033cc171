"""Which runs a folder stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.system.seed_runs import SUMMARY, runs_of, seed_run


def finish(run: RunDir) -> RunDir:
    run.path.mkdir(parents=True)
    run.write_json("metrics.json", {})
    return run


def test_a_run_stands_for_itself(tmp_path: Path) -> None:
    assert runs_of(tmp_path) == [RunDir(tmp_path)]


def test_a_folder_of_seeds_stands_for_its_runs_in_order(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text(json.dumps({"seeds": [9, 10]}))
    runs = [finish(seed_run(tmp_path, seed)) for seed in (9, 10)]
    finish(RunDir(tmp_path / "seed-11"))  # not one of them
    assert runs_of(tmp_path) == runs


def test_unfinished_runs_are_named(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text(json.dumps({"seeds": [1, 2, 3]}))
    finish(seed_run(tmp_path, 2))
    with pytest.raises(UserError, match="not finished: seed-1, seed-3") as error:
        runs_of(tmp_path)
    assert f"--resume -o {tmp_path}" in error.value.remedy
