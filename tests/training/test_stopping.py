"""Early stopping: after how many evaluations, what is said and saved, and the same step after a resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.runs import tune, weights
from transformers.trainer_callback import TrainerState

from llmkit.training.checkpoints import newest
from llmkit.training.evaluation import BestStep
from llmkit.training.stopping import runs_out, stopped_at
from llmkit.training.trainer import Trainer

# The scores of the evaluations, one after each step: the third is the best.
SCORES = (20.0, 20.0, 30.0, 30.0, 25.0, 29.0, 40.0)
KEYS = ["train.eval_steps=1", "train.early_stopping_patience=3", "train.logging_steps=1", "train.save_total_limit=20"]


def state(scores: dict[int, float], best: int | None) -> TrainerState:
    history: list[dict[str, Any]] = [{"eval_f1": score, "step": step} for step, score in scores.items()]
    return TrainerState(log_history=[{"loss": 1.0, "step": 1}, *history], best_global_step=best)


@pytest.mark.parametrize(
    ("scores", "best", "patience", "stops"),
    [
        ({1: 5.0, 2: 4.0}, 1, 2, False),
        ({1: 5.0, 2: 4.0, 3: 5.0}, 1, 2, True),
        ({1: 5.0, 2: 4.0, 3: 6.0}, 3, 2, False),
        ({0: 9.0, 1: 5.0, 2: 4.0}, 1, 2, False),  # step 0 cannot be the best
        ({0: 9.0}, None, 1, False),
        ({1: 5.0, 2: 4.0, 3: 3.0}, 1, None, False),
    ],
)
def test_when_it_is_time_to_stop(scores: dict[int, float], best: int | None, patience: int | None, stops: bool) -> None:
    assert runs_out(state(scores, best), "f1", patience) is stops


def test_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert runs_out(state({1000: 5.0, 2000: 4.0}, 1000), "f1", 1)
    assert "stopped early: no better f1 in 1 evaluation; best at step 1,000" in capsys.readouterr().err
    assert stopped_at(state({1: 5.0}, 1)) is None


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations find SCORES, whatever the model does."""
    found = BestStep._score

    def score(self: BestStep, model: Any) -> Any:
        result = found(self, model)
        result.scores["f1"] = SCORES[int(STEP[0]) - 1] if STEP[0] else 0.0
        return result

    STEP = [0]
    evaluate = Trainer.evaluate

    def at_step(self: Trainer, *arguments: Any, **options: Any) -> Any:
        STEP[0] = self.state.global_step
        return evaluate(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "evaluate", at_step)
    monkeypatch.setattr(BestStep, "_score", score)


@pytest.mark.usefixtures("scored")
def test_a_run_stops_keeps_the_best_and_stays_stopped(folder: Path, llmkit: Command) -> None:
    command = tune(folder, *KEYS)
    code, _, err = llmkit(*command)
    assert code == 0, err
    run = folder / "run"
    assert "stopped early: no better f1 in 3 evaluations; best at step 3" in err
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6
    assert (lines[-1]["stopped_early"], lines[-1]["best_step"]) == (True, 3)
    assert json.loads((run / "metrics.json").read_text())["stopped_early_at"] == 6
    assert "| stopped_early_at | 6 |" in (run / "model" / "README.md").read_text()
    best = (run / "checkpoints" / "checkpoint-3" / "model.safetensors").read_bytes()
    assert weights(run) == best, "the model is that of the best step"
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert rates[-1] > 0.4 * rates[0], "the learning rate is that of the planned length"

    code, _, err = llmkit(*command, "--resume")
    assert code == 0
    assert "is finished: nothing is left to do" in err

    # Killed once it had stopped, before its model was written.
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "model")
    code, _, err = llmkit(*command, "--resume")
    assert code == 0, err
    assert "step 7" not in err
    assert [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] == lines
    assert weights(run) == best

    # Killed two evaluations earlier.
    (run / "metrics.json").unlink()
    for step in (5, 6):
        shutil.rmtree(run / "checkpoints" / f"checkpoint-{step}")
    code, _, err = llmkit(*command, "--resume")
    assert code == 0, err
    assert "stopped early: no better f1 in 3 evaluations; best at step 3" in err
    last = newest(run / "checkpoints")
    assert last is not None
    assert last.name == "checkpoint-6"
    assert weights(run) == best


@pytest.mark.usefixtures("scored")
def test_by_time_too(folder: Path, llmkit: Command) -> None:
    long = ["train.max_steps=null", "train.time_budget=1h", "train.eval_steps=1"]
    code, _, err = llmkit(*tune(folder, *KEYS, *long))
    assert code == 0, err
    assert "stopped early: no better f1 in 3 evaluations; best at step 3" in err


def test_a_patience_that_cannot_run_out_is_refused(folder: Path, llmkit: Command) -> None:
    code, _, err = llmkit(*tune(folder, "train.early_stopping_patience=2"))
    assert code == 1
    assert "early_stopping_patience 2 has no effect on a run of 2 evaluations: make it smaller, or eval_steps" in err
