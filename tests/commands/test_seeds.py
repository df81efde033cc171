"""`llmkit finetune --seeds N`: ordinary runs that differ in their seed, resumed as one, and their table."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
import yaml
from support import Command
from support.runs import weights

from llmkit.commands import in_series
from llmkit.commands.finetune import read_examples
from llmkit.system.run_folder import RunDir
from llmkit.system.seed_runs import runs_of
from llmkit.training.trainer import Trainer


@pytest.fixture
def tuned(runs: Path) -> list[str]:
    """A fine-tuning command of three steps, without its seeds and output."""
    data = [f"data.{split}={runs / 'squad.jsonl'}" for split in ("train", "validation")]
    model = f"model.pretrained={runs / 'runs' / 'bert'}"
    return ["finetune", "-r", "tiny/squad", "name=squad", model, *data, "train.max_steps=3", "train.seed=7"]


def stop_at(monkeypatch: pytest.MonkeyPatch, training_step: int) -> None:
    """Send SIGTERM to this process in a step, counted over all runs from 1."""
    step, seen = Trainer.training_step, [0]

    def stopping(self: Trainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        seen[0] += 1
        if seen[0] == training_step:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", stopping)


def test_runs_that_differ_in_their_seed_alone(
    llmkit: Command, tuned: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(in_series, "read_examples", lambda recipe: read.append(recipe) or read_examples(recipe))
    code, out, err = llmkit(*tuned, "--seeds", "2", "-o", "series")
    assert code == 0, err
    assert len(read) == 1, "the data are read once"
    series = tmp_path / "series"
    runs = runs_of(series)
    assert [run.path.name for run in runs] == ["seed-7", "seed-8"]
    first, second = (run.recipe() for run in runs)
    assert (first["train"].pop("seed"), second["train"].pop("seed")) == (7, 8)
    assert first == second
    assert weights(runs[0].path) != weights(runs[1].path)

    code, printed, err = llmkit(*tuned, "train.seed=8", "-o", "alone", "--json")
    assert code == 0, err
    assert json.loads(printed) == json.loads((tmp_path / "alone" / "metrics.json").read_text())
    assert weights(tmp_path / "alone") == weights(runs[1].path), "each is what its own command makes"

    summary = json.loads((series / "seeds.json").read_text())
    scores = [json.loads((run.path / "metrics.json").read_text()) for run in runs]
    for name in ("exact_match", "f1"):
        values = [found[name] for found in scores]
        assert summary["mean"][name] == fmean(values)
        assert summary["standard_deviation"][name] == stdev(values)
        assert [summary["runs"][run.path.name][f"{name}_interval"] for run in runs] == [
            found[f"{name}_interval"] for found in scores
        ]
    best = max(runs, key=lambda run: json.loads((run.path / "metrics.json").read_text())["f1"])
    assert summary["best"] == best.path.name
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["series,", "run", "seed-7", "seed-8", "mean", "deviation", "best"]
    assert lines[-1].endswith(f"series/{best.path.name}")
    assert f"{scores[0]['f1']:.2f}" in lines[2]


def test_stopped_in_the_second_run_it_goes_on(
    llmkit: Command, tuned: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 5)  # the second step of the second run
        code, _, err = llmkit(*tuned, "--seeds", "2", "-o", "series")
    assert code == 143
    assert "Continue with the same command and --resume -o series.\n" in err
    finished = (tmp_path / "series" / "seed-7" / "metrics.json").stat().st_mtime_ns
    code, _, err = llmkit(*tuned, "--seeds", "2", "-o", "series")
    assert code == 1
    assert "series is in use" in err

    code, out, err = llmkit(*tuned, "--seeds", "2", "-o", "series", "--resume", "--json")
    assert code == 0, err
    assert "resuming from series/seed-8/checkpoints/checkpoint-2" in err
    assert finished == (tmp_path / "series" / "seed-7" / "metrics.json").stat().st_mtime_ns
    assert json.loads(out) == json.loads((tmp_path / "series" / "seeds.json").read_text())

    code, _, err = llmkit(*tuned, "--seeds", "3", "-o", "series", "--resume")
    assert code == 0, err
    assert err.count("training: 3 steps") == 1, "a third run is added"
    code, again, err = llmkit(*tuned, "--seeds", "3", "-o", "series", "--resume")
    assert (code, err.count("training:")) == (0, 0)
    assert "seed-9" in again


def test_a_signal_that_comes_too_late_for_a_run_stops_before_the_next(
    llmkit: Command, tuned: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen = Trainer.evaluate, [0]

    def evaluate(self: Trainer, *args: Any, **kwargs: Any) -> dict[str, float]:
        scores = step(self, *args, **kwargs)
        seen[0] += self.state.global_step == 3
        if seen[0] == 1:  # nothing is left to do for the first run but to save it
            os.kill(os.getpid(), signal.SIGTERM)
        return scores

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", evaluate)
        code, _, err = llmkit(*tuned, "--seeds", "2", "-o", "series")
    assert code == 143
    assert "stopped between two runs" in err
    assert (tmp_path / "series" / "seed-7" / "metrics.json").is_file()
    assert not (tmp_path / "series" / "seed-8").exists()


def test_all_is_checked_before_the_first_run(llmkit: Command, tuned: list[str], runs: Path, tmp_path: Path) -> None:
    other = tmp_path / "series" / "seed-8"
    shutil.copytree(runs / "runs" / "squad", other)
    (tmp_path / "series" / "seeds.json").write_text('{"seeds": [8]}')
    code, _, err = llmkit(*tuned, "--seeds", "2", "-o", "series", "--resume")
    assert code == 1
    assert "seed-8 was started with another recipe: " in err
    assert not (other.parent / "seed-7").exists()

    code, _, err = llmkit(*tuned, "--seeds", "2", "-o", str(other), "--resume")
    assert (code, "seed-8 holds a single run" in err) == (1, True)
    code, _, err = llmkit(*tuned, "train.seed=4294967295", "--seeds", "2", "-o", "new")
    assert (code, "2 seeds from 4294967295 on go beyond 4294967295" in err) == (1, True)
    code, _, err = llmkit(*tuned, "-o", "series", "--resume")
    assert (code, "series is in use" in err) == (1, True), "no single run goes there"


def test_a_dry_run_counts_all_of_them(llmkit: Command, tuned: list[str], tmp_path: Path) -> None:
    code, _, err = llmkit(*tuned, "--seeds", "3", "-o", "series", "--dry-run")
    assert code == 0, err
    assert "estimate, in one process: 3 steps" in err
    assert "3 such runs, one after another: " in err
    assert not (tmp_path / "series").exists()


@pytest.mark.slow
def test_on_two_processes(llmkit: Command, tuned: list[str], tmp_path: Path) -> None:
    from support.runs import run_command

    run_command(*tuned, "--seeds", "2", "-o", "series", "-n", "2", cwd=tmp_path)
    run_command(*tuned, "-o", "alone", "-n", "2", "train.seed=8", cwd=tmp_path)
    assert weights(tmp_path / "series" / "seed-8") == weights(tmp_path / "alone")
    assert (
        yaml.safe_load((tmp_path / "series" / "seed-8" / "recipe.yaml").read_text())
        == RunDir(tmp_path / "alone").recipe()
    )
