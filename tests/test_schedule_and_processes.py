"""The schedule of a run, the machine it is on, and work shared out among processes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.trainer_callback import TrainerControl

from llmkit import processes
from llmkit.console import Progress, count, duration
from llmkit.errors import UserError
from llmkit.machine import choose, keep_memory
from llmkit.pace import Pace
from llmkit.processes import check_launch, from_first, sharded
from llmkit.recipe import TrainSection


def section(**values: Any) -> TrainSection:
    return TrainSection(**{"max_steps": 100, **values})


def test_the_learning_rate_warms_up_and_ends_at_nothing() -> None:
    linear = Pace(section(warmup_steps=0.1))
    assert [linear.learning_rate_factor(step, 100) for step in (0, 5, 10, 55, 100)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0]
    )
    steps = Pace(section(warmup_steps=20))
    assert [steps.learning_rate_factor(step, 100) for step in (10, 20, 60)] == pytest.approx([0.5, 1, 0.5])
    cosine = Pace(section(lr_scheduler_type="cosine"))
    assert [cosine.learning_rate_factor(step, 100) for step in (0, 50, 100)] == pytest.approx([1, 0.5, 0])
    constant = Pace(section(lr_scheduler_type="constant", warmup_steps=0.1))
    assert [constant.learning_rate_factor(step, 100) for step in (5, 50, 100)] == pytest.approx([0.5, 1, 1])


def walk(pace: Pace, steps: int, max_steps: int) -> dict[str, list[int]]:
    """At which steps what was due."""
    due: dict[str, list[int]] = {"log": [], "evaluate": [], "stop": []}
    state: Any = SimpleNamespace(global_step=0, max_steps=max_steps, is_world_process_zero=True)
    pace.on_train_begin(None, state, TrainerControl())
    for step in range(1, steps + 1):
        control = TrainerControl()
        pace.on_pre_optimizer_step(None, state, control)
        state.global_step = step
        pace.on_step_end(None, state, control)
        for name, flag in (
            ("log", control.should_log),
            ("evaluate", control.should_evaluate and control.should_save),
            ("stop", control.should_training_stop),
        ):
            if flag:
                due[name].append(step)
    return due


def test_what_is_due_by_share_and_by_step() -> None:
    due = walk(Pace(section(logging_steps=0.1, eval_steps=0.25)), 100, 100)
    assert due == {"log": list(range(10, 101, 10)), "evaluate": [25, 50, 75, 100], "stop": [100]}
    due = walk(Pace(section(logging_steps=7, eval_steps=1000)), 20, 20)
    assert due == {"log": [7, 14, 20], "evaluate": [20], "stop": [20]}


def test_a_budget_of_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = 100.0
    monkeypatch.setattr("llmkit.pace.time.monotonic", lambda: clock)
    budget = TrainSection(time_budget="10s", warmup_steps=0.2, eval_steps=0.5)
    pace = Pace(budget)
    state: Any = SimpleNamespace(global_step=0, max_steps=10**9, is_world_process_zero=True)
    pace.on_train_begin(None, state, TrainerControl())
    factors, evaluated, stopped = [], [], []
    for second in range(1, 11):
        clock += 1.0
        control = TrainerControl()
        pace.on_pre_optimizer_step(None, state, control)
        factors.append(pace.learning_rate_factor(second, 10**9))
        state.global_step = second
        pace.on_step_end(None, state, control)
        evaluated += [second] * control.should_evaluate
        stopped += [second] * control.should_training_stop
    assert factors == pytest.approx([0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0])
    assert evaluated == [5, 10]
    assert stopped == [10]
    checkpoint = tmp_path / "checkpoint-10"
    checkpoint.mkdir()
    pace.on_save(SimpleNamespace(output_dir=tmp_path), state, TrainerControl())
    again = Pace(budget)
    again.resume(checkpoint)
    assert again.seconds() == pytest.approx(10.0)
    assert again.left() == 0.0


@pytest.mark.parametrize("text", ["10", "ten minutes", "10x", "m", "1h-3m"])
def test_a_budget_that_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="should be a time such as"):
        TrainSection(time_budget=text)


def test_launches_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    check_launch(None)
    check_launch(2)
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    with pytest.raises(UserError, match="started only this one"):
        check_launch(None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_launch(2)
    with pytest.raises(UserError, match="-n 3 under a launcher that started 2"):
        check_launch(3)


def worker(rank: int, size: int, store: str, answers: Any) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    for items in (1, 2, 7):
        result = sharded(list(range(items)), lambda item: item * item)
        total = from_first(sum(result) if result is not None else None)
        answers.put((rank, items, result, total))
    dist.destroy_process_group()


@pytest.mark.parametrize("size", [2, 3])
def test_work_is_shared_out_and_comes_back_in_order(size: int, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    arguments = (size, str(tmp_path / "store"), answers)
    started = [context.Process(target=worker, args=(rank, *arguments)) for rank in range(size)]
    for process in started:
        process.start()
    got = [answers.get(timeout=120) for _ in range(3 * size)]
    for process in started:
        process.join(timeout=60)
        assert process.exitcode == 0
    for rank, items, result, total in got:
        assert result == ([n * n for n in range(items)] if rank == 0 else None)
        assert total == sum(n * n for n in range(items))


def test_alone_it_is_a_loop() -> None:
    assert sharded([1, 2, 3], lambda item: -item) == [-1, -2, -3]
    assert from_first("x") == "x"
    assert processes.default_processes() >= 1


def test_precision_follows_the_hardware() -> None:
    keep_memory()
    assert choose(True).bf16
    assert not choose(False).bf16
    assert "as the recipe says" in choose(False).why
    assert choose("auto").device


def test_numbers_for_people() -> None:
    assert [duration(s) for s in (7.4, 75, 3700)] == ["7 s", "1:15", "1:01:40"]
    assert [count(n) for n in (842, 15_300, 2_100_000, 3e9)] == ["842", "15.3k", "2.1M", "3.0G"]


def test_a_plain_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = 0.0
    monkeypatch.setattr("llmkit.console.time.monotonic", lambda: clock)
    with Progress("working") as progress:
        for second in range(12):
            clock = float(second)
            progress({"step": second})
    assert capsys.readouterr().err.splitlines() == ["working  step 5", "working  step 10"]
