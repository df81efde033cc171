"""How far a run is, by steps and by the clock: its learning rate, what is due, and a resume."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.recipes.pretraining import TrainSection
from llmkit.training.checkpoints import seal
from llmkit.training.schedule import Schedule


def section(**values: Any) -> TrainSection:
    return TrainSection(**{"max_steps": 100, **values})


def test_the_learning_rate_warms_up_and_ends_at_nothing() -> None:
    linear = Schedule(section(warmup_steps=0.1))
    assert [linear.learning_rate_factor(step, 100) for step in (0, 5, 10, 55, 100)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0]
    )
    steps = Schedule(section(warmup_steps=20))
    assert [steps.learning_rate_factor(step, 100) for step in (10, 20, 60)] == pytest.approx([0.5, 1, 0.5])
    cosine = Schedule(section(lr_scheduler_type="cosine"))
    assert [cosine.learning_rate_factor(step, 100) for step in (0, 50, 100)] == pytest.approx([1, 0.5, 0])
    constant = Schedule(section(lr_scheduler_type="constant", warmup_steps=0.1))
    assert [constant.learning_rate_factor(step, 100) for step in (5, 50, 100)] == pytest.approx([0.5, 1, 1])
    stable = Schedule(section(lr_scheduler_type="warmup_stable_decay", warmup_steps=10, decay_steps=0.4))
    factors = [stable.learning_rate_factor(step, 100) for step in (5, 10, 60, 70, 90, 100)]
    assert factors == pytest.approx([0.5, 1, 1, 0.5, 1 - math.sqrt(0.75), 0])
    default = Schedule(section(lr_scheduler_type="warmup_stable_decay"))
    assert [default.learning_rate_factor(step, 100) for step in (0, 80, 85)] == pytest.approx([1, 1, 0.5])


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@given(warm_up=st.floats(0, 0.9) | st.integers(1, 300), step=st.integers(0, 999), max_steps=st.integers(1000, 5000))
def test_a_run_of_an_earlier_version_goes_on_with_the_same_bits(
    kind: Any, warm_up: float, step: int, max_steps: int
) -> None:
    share, warm = step / max_steps, warm_up if warm_up < 1 else warm_up / max_steps  # how it was computed then
    left = max(0.0, (1 - share) / (1 - warm))
    decayed = left if kind == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
    schedule = Schedule(section(lr_scheduler_type=kind, warmup_steps=warm_up))
    assert schedule.learning_rate_factor(step, max_steps) == (share / warm if share < warm else decayed)


@given(step=st.integers(0, 800), longer=st.integers(1000, 5000))
def test_a_longer_run_has_the_same_bits_until_the_decay(step: int, longer: int) -> None:
    for kind in ("constant", "warmup_stable_decay"):
        schedule = Schedule(section(max_steps=1000, lr_scheduler_type=kind, warmup_steps=300))
        assert schedule.learning_rate_factor(step, 1000) == schedule.learning_rate_factor(step, longer)


def walk(schedule: Schedule, steps: int, max_steps: int) -> dict[str, list[int]]:
    """At which steps what was due."""
    due: dict[str, list[int]] = {"log": [], "evaluate": [], "save": [], "stop": []}
    state: Any = SimpleNamespace(global_step=0, max_steps=max_steps, is_world_process_zero=True)
    schedule.on_train_begin(None, state, TrainerControl())
    for step in range(1, steps + 1):
        control = TrainerControl()
        schedule.on_pre_optimizer_step(None, state, control)
        state.global_step = step
        schedule.on_step_end(None, state, control)
        for name, flag in (
            ("log", control.should_log),
            ("evaluate", control.should_evaluate and control.should_save),
            ("save", control.should_save),
            ("stop", control.should_training_stop),
        ):
            if flag:
                due[name].append(step)
    return due


def test_the_share_at_which_batches_are_drawn() -> None:
    """By steps that of their step; by time that of the clock, which a step has read."""
    state: Any = SimpleNamespace(global_step=30, max_steps=40)
    steps, clock = Schedule(section(max_steps=40)), Schedule(section(max_steps=None, time_budget=3600.0))
    for schedule in (steps, clock):
        schedule.on_train_begin(None, state, TrainerControl())
    assert [steps.share_at(step) for step in (0, 10, 40, 41)] == [0, 0.25, 1, 1]
    clock._earlier = 900.0
    assert clock.share_at(35) < 0.01
    clock.on_pre_optimizer_step(None, state, TrainerControl())
    assert clock.share_at(35) == clock.share == pytest.approx(0.25, abs=0.01)


def test_data_change_over_a_decay_that_is_a_phase_of_the_run() -> None:
    state: Any = SimpleNamespace(global_step=0, max_steps=40)
    schedule = Schedule(section(max_steps=40, lr_scheduler_type="warmup_stable_decay", decay_steps=10))
    schedule.on_train_begin(None, state, TrainerControl())
    assert [schedule.share_at(step) for step in (0, 29, 30, 35, 40)] == [0, 0, 0, 0.5, 1]


def test_what_is_due_by_share_and_by_step() -> None:
    due = walk(Schedule(section(logging_steps=0.1, eval_steps=0.25)), 100, 100)
    quarters = [25, 50, 75, 100]
    assert due == {"log": list(range(10, 101, 10)), "evaluate": quarters, "save": quarters, "stop": [100]}
    due = walk(Schedule(section(logging_steps=7, eval_steps=1000)), 20, 20)
    assert due == {"log": [7, 14, 20], "evaluate": [20], "save": [20], "stop": [20]}
    due = walk(Schedule(section(logging_steps=20, eval_steps=10, save_steps=4)), 20, 20)
    assert due == {"log": [20], "evaluate": [10, 20], "save": [4, 8, 10, 12, 16, 20], "stop": [20]}


def test_a_budget_of_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = 100.0
    monkeypatch.setattr("llmkit.training.schedule.time.monotonic", lambda: clock)
    budget = TrainSection(time_budget="10s", warmup_steps=0.2, eval_steps=0.5)
    schedule = Schedule(budget)
    state: Any = SimpleNamespace(global_step=0, max_steps=10**9, is_world_process_zero=True)
    schedule.on_train_begin(None, state, TrainerControl())
    factors, evaluated, stopped = [], [], []
    for second in range(1, 11):
        clock += 1.0
        control = TrainerControl()
        schedule.on_pre_optimizer_step(None, state, control)
        factors.append(schedule.learning_rate_factor(second, 10**9))
        state.global_step = second
        schedule.on_step_end(None, state, control)
        evaluated += [second] * control.should_evaluate
        stopped += [second] * control.should_training_stop
    assert factors == pytest.approx([0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0])
    assert evaluated == [5, 10]
    assert stopped == [10]
    checkpoint = tmp_path / "checkpoint-10"
    checkpoint.mkdir()
    seal(checkpoint, schedule.seconds())
    again = Schedule(budget)
    again.resume(checkpoint)
    assert again.seconds() == pytest.approx(10.0)
    assert again.left() == 0.0


@pytest.mark.parametrize("duration", [0.2, 20])
def test_a_checkpoint_before_the_decay(duration: float) -> None:
    stable = section(lr_scheduler_type="warmup_stable_decay", warmup_steps=5, decay_steps=duration, eval_steps=1000)
    assert walk(Schedule(stable), 100, 100)["save"] == [80, 100]
    assert walk(Schedule(section(eval_steps=1000)), 100, 100)["save"] == [100]


def test_a_checkpoint_before_the_decay_of_a_budget_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr("llmkit.training.schedule.time.monotonic", lambda: clock)
    budget = TrainSection(time_budget="10s", lr_scheduler_type="warmup_stable_decay", decay_steps=0.45, eval_steps=0.9)
    schedule = Schedule(budget)
    state: Any = SimpleNamespace(global_step=0, max_steps=10**9, is_world_process_zero=True)
    schedule.on_train_begin(None, state, TrainerControl())
    saved, stable = [], []
    for second in range(1, 11):
        clock += 1.0
        control = TrainerControl()
        schedule.on_pre_optimizer_step(None, state, control)
        state.global_step = second
        schedule.on_step_end(None, state, control)
        saved += [second] * control.should_save
        stable += [second] * schedule.stable
    assert stable == [1, 2, 3, 4, 5, 6], "the sixth step had the learning rate of the share before it"
    assert saved == [6, 9, 10]


def test_a_warm_up_that_was_over_does_not_begin_again_in_a_longer_run(tmp_path: Path) -> None:
    stable = section(lr_scheduler_type="warmup_stable_decay", warmup_steps=0.1)
    checkpoint = tmp_path / "checkpoint-80"
    checkpoint.mkdir()
    seal(checkpoint, 1.0, stable=True)
    longer = Schedule(stable.model_copy(update={"max_steps": 1000}))
    assert longer.learning_rate_factor(80, 1000) == pytest.approx(0.8)
    longer.resume(checkpoint)
    assert longer.learning_rate_factor(80, 1000) == 1.0
    assert longer.learning_rate_factor(900, 1000) == pytest.approx(1 - math.sqrt(0.5))


def test_the_first_step_of_a_longer_run_by_time_has_its_learning_rate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The checkpoint before the decay was saved when the clock had set the next step's, which had decayed."""
    clock = 100.0
    monkeypatch.setattr("llmkit.training.schedule.time.monotonic", lambda: clock)
    budget = TrainSection(time_budget="10s", lr_scheduler_type="warmup_stable_decay", decay_steps=0.5)

    def scheduled(train: TrainSection) -> tuple[Schedule, torch.optim.Optimizer, LambdaLR]:
        schedule = Schedule(train)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.001)
        return schedule, optimizer, LambdaLR(optimizer, lambda step: schedule.learning_rate_factor(step, 10**9))

    schedule, optimizer, rates = scheduled(budget)
    state: Any = SimpleNamespace(global_step=0, max_steps=10**9, is_world_process_zero=True)
    schedule.on_train_begin(None, state, TrainerControl(), lr_scheduler=rates)
    clock += 6.0
    schedule.on_pre_optimizer_step(None, state, TrainerControl())
    optimizer.step()
    rates.step()
    state.global_step, control = 1, TrainerControl()
    schedule.on_step_end(None, state, control)
    assert control.should_save
    assert rates.get_last_lr()[0] < 0.001
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    seal(checkpoint, schedule.seconds(), stable=schedule.stable)
    saved = optimizer.state_dict(), rates.state_dict()

    longer, optimizer, rates = scheduled(budget.model_copy(update={"time_budget": 100.0}))
    longer.resume(checkpoint)
    optimizer.load_state_dict(saved[0])
    rates.load_state_dict(saved[1])
    longer.on_train_begin(None, state, TrainerControl(), lr_scheduler=rates)
    assert [group["lr"] for group in optimizer.param_groups] == rates.get_last_lr() == [0.001]
    assert rates.last_epoch == 1


def test_a_decay_that_is_cut_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    epochs = TrainSection(num_train_epochs=1, lr_scheduler_type="warmup_stable_decay", warmup_steps=80, decay_steps=60)
    for steps in (140, 100):
        assert not capsys.readouterr().err
        Schedule(epochs).on_train_begin(None, TrainerState(max_steps=steps), TrainerControl())
    assert "are more than the run's 100 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"decay_steps": 10}, "no effect without lr_scheduler_type=warmup_stable_decay"),
        ({"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 0.6, "decay_steps": 0.5}, "more than the run"),
        ({"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 80, "decay_steps": 60}, "more than the run"),
        ({"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 81}, "more than the run"),
        ({"lr_scheduler_type": "warmup_stable_decay", "decay_steps": 101}, "more than the run"),
        ({"lr_scheduler_type": "warmup_stable_decay", "decay_steps": 0}, "greater than 0"),
        (
            {"lr_scheduler_type": "warmup_stable_decay", "decay_steps": 9, "max_steps": None, "time_budget": "9s"},
            "decay_steps must be a fraction",
        ),
    ],
)
def test_a_decay_that_cannot_be(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        section(**wrong)


@pytest.mark.parametrize(("warm_up", "decay"), [(40, 60), (0.4, 60), (0.55, 0.45), (0.45, 0.55), (0, 100)])
def test_a_warm_up_and_a_decay_may_be_the_whole_run(warm_up: float, decay: float) -> None:
    section(lr_scheduler_type="warmup_stable_decay", warmup_steps=warm_up, decay_steps=decay)


@pytest.mark.parametrize("text", ["10", "ten minutes", "10x", "m", "1h-3m"])
def test_a_budget_that_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="should be a time such as"):
        TrainSection(time_budget=text)


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant", "warmup_stable_decay"])
@given(warm_up=st.floats(0, 0.8) | st.integers(1, 300), step=st.integers(0, 200), max_steps=st.integers(1, 200))
def test_the_learning_rate_is_never_above_the_recipes(kind: Any, warm_up: float, step: int, max_steps: int) -> None:
    schedule = Schedule(TrainSection(num_train_epochs=1, lr_scheduler_type=kind, warmup_steps=warm_up))
    assert 0 <= schedule.learning_rate_factor(min(step, max_steps), max_steps) <= 1


@given(every=st.floats(0.004, 1, exclude_max=True) | st.integers(1, 60), max_steps=st.integers(1, 120))
def test_everything_is_due_as_often_as_it_should_be(every: float, max_steps: int) -> None:
    due = walk(Schedule(section(eval_steps=every)), max_steps, max_steps)["evaluate"]
    assert due[-1] == max_steps, "the end is evaluated"
    if isinstance(every, int):
        assert due == sorted({*range(every, max_steps + 1, every), max_steps})
    else:
        assert len(due) <= math.ceil(1 / every)
        # The first step at or past each multiple of the share; floats may put one a step to either side.
        wanted = {math.ceil(k * every * max_steps - 1e-6) for k in range(1, math.floor(1 / every + 1e-9) + 1)}
        assert set(due) == {*wanted, max_steps}


def test_a_resumed_run_goes_on_with_what_is_due() -> None:
    schedule = Schedule(section(eval_steps=0.25))
    state: Any = SimpleNamespace(global_step=50, max_steps=100, is_world_process_zero=True)
    schedule.on_train_begin(None, state, TrainerControl())
    assert schedule.share == 0.5
    assert schedule.left() == math.inf, "nothing is known of its speed yet"
    evaluated = []
    for step in range(51, 101):
        control = TrainerControl()
        schedule.on_pre_optimizer_step(None, state, control)
        state.global_step = step
        schedule.on_step_end(None, state, control)
        evaluated += [step] * control.should_evaluate
    assert evaluated == [75, 100]


def test_the_time_left_follows_from_the_speed_since_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("llmkit.training.schedule.time.monotonic", lambda: clock)
    schedule = Schedule(section())
    state: Any = SimpleNamespace(global_step=50, max_steps=100, is_world_process_zero=True)
    schedule.on_train_begin(None, state, TrainerControl())
    clock, state.global_step = 20.0, 60
    schedule.on_step_end(None, state, TrainerControl())
    assert schedule.left() == pytest.approx(80.0)
