"""How many steps of a training a budget buys."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from support.benchmarks import Load


def test_a_budget_becomes_steps_once(load: Load, tmp_path: Path) -> None:
    budgets = load("budgets")
    watched: list[float] = []

    def cost(watch: float) -> float:
        watched.append(watch)
        return 0.5

    arguments = Namespace(work=tmp_path, threads=1, cpu=True)
    assert budgets.steps_within(20, "mini", cost, arguments) == 40
    assert budgets.steps_within(1000, "mini", cost, arguments) == 2000
    assert budgets.steps_within(1000.2, "small", cost, arguments) == 2000.4
    assert watched == [20, budgets.WATCHED], "once for each name, and no longer than the budget"
    arguments.cpu = False
    assert budgets.steps_within(1000, "mini", cost, arguments) == 2000
    assert len(watched) == 3, "the time of the clock is another cost"


def test_what_costs_nothing_buys_the_same_steps(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    budgets = load("budgets")
    monkeypatch.setattr(budgets, "cost_of_pretraining", lambda *_: 0.5)
    arguments = Namespace(work=tmp_path, threads=1, cpu=True)
    wsd = "train.lr_scheduler_type=warmup_stable_decay train.decay_steps=2000"
    for overrides in ("train.learning_rate=1e-2", "train.seed=7", "model.config.initializer_range=0.05", wsd):
        assert budgets.steps_of_pretraining(10, "bert-mini", overrides.split(), arguments) == 20
    assert capsys.readouterr().err.count("s a step") == 1
    budgets.steps_of_pretraining(10, "bert-mini", ["train.per_device_train_batch_size=8"], arguments)
    assert len(json.loads((tmp_path / "costs.json").read_text())) == 2
    with pytest.raises(SystemExit, match="learning_rat"):
        budgets.steps_of_pretraining(10, "bert-mini", ["train.learning_rat=1e-2"], arguments)


def test_a_schedule_in_steps_has_a_cost(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short run that measures it ends by time, where a decay in steps is refused."""
    budgets, pretraining = load("budgets"), load("pretraining")
    started: list[list[str]] = []
    monkeypatch.setattr(budgets, "cost_of_step", lambda command, *_, **__: started.append(command) or 0.5)
    overrides = ["train.lr_scheduler_type=warmup_stable_decay", "train.decay_steps=2000", "train.warmup_steps=100"]
    assert budgets.cost_of_pretraining(["pretrain", "-r", "bert-mini", *overrides], 5, Namespace(cpu=True, threads=1))
    command = started[0]
    given = command[command.index("bert-mini") + 1 : command.index("-o")]
    assert pretraining.read("bert-mini", given).train.time_budget == 5


def test_the_cost_of_a_step_is_cpu_time_if_asked(load: Load, tmp_path: Path) -> None:
    """Steps that sleep take time of the clock, and none of the processor."""
    budgets = load("budgets")
    steps = tmp_path / "steps"
    code = f"import time\nfor n in range(1000):\n    time.sleep(0.1)\n    open({str(steps)!r}, 'a').write('x')"

    def cost(*, cpu: bool) -> float:
        steps.unlink(missing_ok=True)
        done = lambda: len(steps.read_text()) if steps.exists() else 0  # noqa: E731
        found: float = budgets.cost_of_step([sys.executable, "-c", code], tmp_path, done, 1.0, cpu=cpu, threads=1)
        return found

    assert cost(cpu=False) > 0.09
    assert cost(cpu=True) < 0.05
    with pytest.raises(SystemExit, match="before its second step"):
        budgets.cost_of_step([sys.executable, "-c", "print('x')"], tmp_path, lambda: 0, 1.0, cpu=True, threads=1)
