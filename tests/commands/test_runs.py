"""`llmkit runs` and `llmkit watch`: what is said of runs, whether they are running, finished or stopped."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import Command

from llmkit.commands import watch as command
from llmkit.system.run_folder import RunDir, hold, is_held

STEP = {"seconds": 3.0, "loss": 2.5, "epoch": 0.5, "tokens_per_second": 1200.0}


def write_run(folder: Path, recipe: dict[str, Any], *log: dict[str, Any], scores: dict[str, Any] | None = None) -> None:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "env.json").write_text("{}")
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    if scores is not None:
        (folder / "metrics.json").write_text(json.dumps(scores))


def evaluation(step: int, **scores: float) -> dict[str, Any]:
    return {"step": step, "seconds": 4.0, "eval_runtime": 1.0, **{f"eval_{name}": v for name, v in scores.items()}}


PRETRAIN = {"train": {"max_steps": 2000, "num_train_epochs": 3.0}}
SQUAD = {"task": "squad", "train": {"max_steps": None, "num_train_epochs": 2.0}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pretraining run that stopped, and a fine-tuned one that is finished, deeper down."""
    losses = [evaluation(0, loss=9.0), evaluation(10, loss=2.0), evaluation(20, loss=2.25)]
    write_run(tmp_path / "runs" / "base", PRETRAIN, {"step": 10, **STEP}, *losses)
    log = [{"step": 5, **STEP}, evaluation(5, f1=40.0), evaluation(9, f1=50.0)]
    write_run(tmp_path / "runs" / "squad" / "seed-1", SQUAD, *log, scores={"f1": 51.25, "total": 3})
    inner = tmp_path / "runs" / "squad" / "seed-1" / "checkpoints" / "checkpoint-5"
    write_run(inner, SQUAD)
    return tmp_path / "runs"


def test_the_table(folder: Path, llmkit: Command) -> None:
    with hold(RunDir(folder / "base")):
        code, out, err = llmkit("runs", str(folder))
    assert code == 0, err
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()[1:]}
    assert len(rows) == 2, "not what is in the folders of a run"
    assert rows[str(folder / "base")].startswith("pretrain running 20 of 2,000 steps loss 2.000")
    assert rows[str(folder / "squad" / "seed-1")].startswith("squad finished 9 epoch 0.00 of 2 f1 51.25")
    assert "2 runs, 1 of them running" in err


def test_as_json_the_latest_first(folder: Path, llmkit: Command) -> None:
    time.sleep(0.02)
    (folder / "base" / "log.jsonl").touch()
    code, out, _ = llmkit("runs", str(folder), "--json")
    assert code == 0
    base, squad = json.loads(out)
    assert (base["run"], base["state"], base["step"]) == (str(folder / "base"), "stopped", 20)
    assert (squad["metric"], squad["score"]) == ("f1", 51.25)
    assert 0 < base["idle"] < squad["idle"]


def test_a_run_of_a_real_command(runs: Path, llmkit: Command) -> None:
    code, out, err = llmkit("runs", str(runs), "--json")
    assert code == 0, err
    assert {run["state"] for run in json.loads(out)} == {"finished"}


def test_asking_whether_a_run_is_held_changes_nothing(folder: Path) -> None:
    run = RunDir(folder / "base")
    assert not is_held(run)
    assert not (run.path / ".lock").exists()
    with hold(run):
        assert is_held(run)
        assert is_held(run)
    assert not is_held(run)


def test_a_run_is_watched_until_it_ends(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir(folder / "base")
    seen = threading.Event()

    def train() -> None:
        with hold(run):
            seen.set()
            time.sleep(0.1)
            run.log({"step": 30, **STEP})
            run.log(evaluation(30, loss=1.5))
            time.sleep(0.1)
            run.write_json("metrics.json", {"loss": 1.5})

    thread = threading.Thread(target=train)
    thread.start()
    seen.wait()
    command.watch(run.path, every=0.01)
    thread.join()
    said = capsys.readouterr().err
    assert said.index("step 10: loss 2.000") < said.index("step 20: loss 2.250") < said.index("step 30: loss 1.500")
    assert said.count("step 30") == 1
    assert f"{run.path} is finished, loss 1.500" in said


def test_a_run_that_stopped_says_how_it_goes_on(folder: Path, llmkit: Command) -> None:
    code, _, err = llmkit("watch", str(folder / "base"))
    assert code == 0
    assert "stopped after step 20, loss 2.000; the command that started it goes on with --resume" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs", "nowhere"], "no such folder: nowhere"),
        (["runs", "."], ". holds no run"),
        (["watch", "."], ". is not a run"),
    ],
)
def test_what_is_not_there(arguments: list[str], message: str, llmkit: Command) -> None:
    code, _, err = llmkit(*arguments)
    assert code == 1
    assert message in err
