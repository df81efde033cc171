"""How several processes are started, and what is said where one runs in place of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, make_dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig

from llmkit.system.advice import Advice
from llmkit.system.errors import UserError
from llmkit.system.launch import SHUTDOWN_TIMEOUT, relaunch
from llmkit.system.processes import (
    LastMaximum,
    any_process,
    check_launch,
    default_processes,
    end_group,
    from_first,
    launched,
    max_over_processes,
    rank,
    sharded,
    start_group,
    world_size,
)
from llmkit.system.stop_signals import STOP_SIGNALS

pytestmark = pytest.mark.oldest

ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}  # what `accelerate launch` leaves behind


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[LaunchConfig, list[str]]]:
    """What was started, without starting it."""
    seen: list[tuple[LaunchConfig, list[str]]] = []

    def elastic_launch(config: LaunchConfig, program: str) -> Callable[..., None]:
        return lambda *arguments: seen.append((config, [program, *arguments]))

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", elastic_launch)
    return seen


def test_the_same_command_goes_to_every_process(started: list[tuple[LaunchConfig, list[str]]]) -> None:
    assert relaunch(4, ["finetune", "--task", "squad", "-o", "a b", "-n", "4"], Advice()) == 0
    ((config, command),) = started
    assert (config.nproc_per_node, config.min_nodes, config.max_nodes, config.max_restarts) == (4, 1, 1, 0)
    assert command == [sys.executable, "-m", "llmkit", "finetune", "--task", "squad", "-o", "a b", "-n", "4"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SignalException("stopped", signal.SIGTERM), 143),
        (SignalException("stopped", signal.SIGINT), 130),
        (ChildFailedError("llmkit", {0: ProcessFailure(0, 1234, 1, "")}), 1),
        (ChildFailedError("llmkit", {1: ProcessFailure(1, 1234, -9, "")}), 137),
    ],
)
def test_how_the_processes_ended_is_the_exit_code(error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def elastic_launch(config: LaunchConfig, program: str) -> Callable[..., None]:
        def fail(*_: str) -> None:
            raise error

        return fail

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", elastic_launch)
    assert relaunch(2, [], Advice()) == code


def test_a_launcher_is_told_how_long_to_wait_where_it_listens(
    started: list[tuple[LaunchConfig, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = "shutdown_timeout"
    others = [(field.name, Any, None) for field in fields(LaunchConfig) if field.name != waits]
    relaunch(2, [], Advice())
    monkeypatch.setattr("torch.distributed.launcher.api.LaunchConfig", make_dataclass("LaunchConfig", others))
    relaunch(2, [], Advice())  # as with torch 2.11
    new, old = (config for config, _ in started)
    assert getattr(new, waits, SHUTDOWN_TIMEOUT) == SHUTDOWN_TIMEOUT
    assert not hasattr(old, waits)
    assert old.nproc_per_node == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_launcher_forwards_a_signal_once(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job manager repeats itself while the processes save. A person who presses Ctrl-C again does not wait."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])

    def elastic_launch(config: LaunchConfig, program: str) -> Callable[..., None]:
        def wait(*_: str) -> None:
            try:
                signal.raise_signal(number)
            except SignalException as first:
                signal.raise_signal(signal.SIGINT)  # a terminal's or a launcher's, of the same moment
                monkeypatch.setattr("llmkit.system.stop_signals.REPEATED", 0.0)
                for again in (signal.SIGTERM, signal.SIGUSR1):
                    signal.raise_signal(again)
                assert child.poll() is None
                signal.raise_signal(signal.SIGINT)
                assert child.wait() == -signal.SIGKILL
                raise first from None

        return wait

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", elastic_launch)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        assert relaunch(2, [], Advice(on_signal="saving")) == 128 + number
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert capsys.readouterr().err == f"{number.name}: saving\n"


@pytest.mark.parametrize(
    ("environment", "asked", "told"),
    [
        ({}, None, None),
        ({}, 2, None),  # -n starts them
        ({"WORLD_SIZE": "2"}, None, None),
        ({"WORLD_SIZE": "2"}, 2, None),  # a process that -n started reads the same command line
        ({"WORLD_SIZE": "2"}, 1, "-n 1 under a launcher that started 2 processes"),
        ({"WORLD_SIZE": "2", **ACCELERATE}, None, None),
        ({"MASTER_PORT": "29500"}, None, None),
        (ACCELERATE, None, "started only this one"),
        (ACCELERATE, 2, "started only this one"),
    ],
)
def test_who_runs_alone_is_told(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], asked: int | None, told: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() is ("WORLD_SIZE" in environment)
    if told is None:
        check_launch(asked)
    else:
        with pytest.raises(UserError, match=told) as caught:
            check_launch(asked)
        assert caught.value.remedy


def test_alone_unless_a_launcher_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (rank(), world_size()) == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert (rank(), world_size()) == (2, 3)


def test_processes_that_do_not_find_each_other_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.PartialState", lambda cpu: SimpleNamespace(num_processes=1, device="cpu"))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert start_group() == "cpu"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes were started and 1 found each other"):
        start_group()


@pytest.mark.parametrize("items", [0, 1, 2, 7])
def test_a_group_of_one(tmp_path: Path, items: int) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        assert sharded(list(range(items)), lambda item: item * item) == [item * item for item in range(items)]
        assert from_first({"f1": 0.0}) == {"f1": 0.0}
        assert max_over_processes(2.5) == 2.5
        last = LastMaximum()
        assert [last(number) for number in (3.0, 1.0, 2.0)] == [0.0, 3.0, 1.0]
    finally:
        dist.destroy_process_group()


# One process imports for all, and they are its copies.
SHARING = """
import json, os
import torch.distributed as dist
from llmkit.system.processes import LastMaximum, from_first, sharded

def work(rank, size):
    dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/store-{size}", rank=rank, world_size=size)
    for items in (1, 2, 7):
        result = sharded(list(range(items)), lambda item: item * item)
        total = from_first(sum(result) if result is not None else None)
        last = LastMaximum()
        latest = [last(10 * call + (rank + call) % size) for call in range(3)][1:]
        os.write(1, json.dumps([rank, items, result, total, latest]).encode() + b"\\n")
    dist.destroy_process_group()

for size in (2, 3):
    children = []
    for rank in range(size):
        children.append(os.fork())
        if children[-1] == 0:
            work(rank, size)
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * size
"""


def test_work_is_shared_out_and_comes_back_in_order(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SHARING], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(got) == 3 * (2 + 3)
    for number, items, result, total, latest in got:
        assert latest in ([1, 11], [2, 12]), "the largest of the call before, of two processes or of three"
        assert result == ([n * n for n in range(items)] if number == 0 else None)
        assert total == sum(n * n for n in range(items))


def test_objects_and_votes_go_over_the_cpus_group(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    class Left(BaseException):
        """In place of the exit."""

    def leave(code: int) -> None:
        raise Left

    def note(name: str, *_: Any, group: Any = None, **__: Any) -> Any:
        groups.append((name, group))
        return SimpleNamespace(wait=lambda: None)

    cpus, groups = object(), []
    monkeypatch.setattr("llmkit.system.processes._gloo", lambda: cpus)
    monkeypatch.setattr("llmkit.system.processes.os._exit", leave)
    # As on a GPU. Whatever talks to other processes notes the group that it talks in.
    answers = {"is_initialized": True, "get_world_size": 1, "get_rank": 0, "get_backend": "nccl"}
    for name, answer in answers.items():
        monkeypatch.setattr(dist, name, lambda answer=answer: answer)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    for name in ("gather_object", "broadcast_object_list", "all_reduce", "barrier"):
        monkeypatch.setattr(dist, name, partial(note, name))
    assert sharded([], lambda item: item) == []
    assert from_first({"f1": 0.0}) == {"f1": 0.0}
    assert any_process(True)
    with pytest.raises(Left):
        end_group()
    assert {name for name, _ in groups} == {"gather_object", "broadcast_object_list", "all_reduce", "barrier"}
    assert all(group is cpus for _, group in groups)


def test_alone_it_is_a_loop() -> None:
    assert sharded([1, 2, 3], lambda item: -item) == [-1, -2, -3]
    assert from_first("x") == "x"
    assert max_over_processes(2.5) == LastMaximum()(2.5) == 2.5
    assert default_processes() >= 1


def test_a_result_is_finished_while_the_next_is_worked_on() -> None:
    order: list[str] = []

    def work(item: int) -> int:
        order.append(f"work {item}")
        return item

    def finish(item: int) -> int:
        order.append(f"finish {item}")
        return -item

    assert sharded([1, 2, 3], work, finish) == [-1, -2, -3]
    assert order == ["work 1", "work 2", "finish 1", "work 3", "finish 2", "finish 3"]
