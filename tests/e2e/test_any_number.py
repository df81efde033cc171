"""Any number of processes and of examples: the same scores and predictions, and no process that waits for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.runs import SHAPE, Material, demo_questions, run_command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tokenizer, and files of so many questions."""
    folder = tmp_path_factory.mktemp("any-number")
    (folder / "tokenizer").symlink_to(material.shards / "tokenizer")
    for size in (1, 2, 7, 1000):
        (folder / f"{size}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in demo_questions("train")[:size]))
    return folder


def tune(folder: Path, train: int, validation: int, *more: str) -> Path:
    run = folder / f"run-{train}-{validation}"
    model = [f"model.config={SHAPE}", "model.tokenizer=tokenizer"]
    data = [f"data.train={train}.jsonl", f"data.validation={validation}.jsonl"]
    run_command("finetune", "-r", "tiny/squad", *model, *data, "train.max_steps=3", "-o", str(run), *more, cwd=folder)
    return run


def evaluated(folder: Path, run: Path, size: int, processes: int) -> tuple[dict[str, Any], bytes]:
    """Scores and the bytes of the predictions. (All with one thread: how many there are may move a last digit.)"""
    output = folder / f"{run.name}-{size}-{processes}"
    run_command(
        "eval", str(run), "--data", f"{size}.jsonl", "-o", str(output), "-n", str(processes), "--json", cwd=folder
    )
    return json.loads((output / "metrics.json").read_text()), (output / "predictions.jsonl").read_bytes()


def test_three_processes_and_one_example(base: Path) -> None:
    """To train on, too: each process gets it."""
    run = tune(base, 1, 1, "-n", "3")
    scores, predictions = evaluated(base, run, 1, 1)
    assert json.loads((run / "metrics.json").read_text()) == scores
    assert (run / "predictions.jsonl").read_bytes() == predictions
    assert scores["total"] == 1


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_same_predictions_on_any_number_of_processes(size: int, base: Path) -> None:
    run = base / "run-2-7"
    if not run.is_dir():
        tune(base, 2, 7)
    alone = evaluated(base, run, size, 1)
    assert alone[0]["total"] == size
    for processes in (2, 3):
        assert evaluated(base, run, size, processes) == alone


@pytest.mark.parametrize("size", [2, 7])
def test_fewer_examples_than_the_processes_take_at_once(size: int, base: Path) -> None:
    run = tune(base, size, 2, "-n", "3", "train.per_device_train_batch_size=4")
    assert json.loads((run / "metrics.json").read_text())["total"] == 2
