"""How several processes are started, and what is said where one runs in place of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, make_dataclass
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
    check_launch,
    default_processes,
    from_first,
    launched,
    rank,
    sharded,
    start_group,
    world_size,
)

pytestmark = pytest.mark.oldest

ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}  # what `accelerate launch` leaves behind


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[LaunchConfig, list[str], str]]:
    """What was started, and with how many threads, without starting it."""
    seen: list[tuple[LaunchConfig, list[str], str]] = []

    def elastic_launch(config: LaunchConfig, program: str) -> Callable[..., None]:
        return lambda *arguments: seen.append((config, [program, *arguments], os.environ["OMP_NUM_THREADS"]))

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", elastic_launch)
    return seen


def test_the_same_command_goes_to_every_process(started: list[tuple[LaunchConfig, list[str], str]]) -> None:
    assert relaunch(4, ["finetune", "--task", "squad", "-o", "a b", "-n", "4"], Advice()) == 0
    ((config, command, _),) = started
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


@pytest.mark.parametrize(("cores", "count", "threads"), [(8, 2, "4"), (2, 4, "1"), (None, 2, "1")])
def test_the_cores_are_shared_out(
    started: list[tuple[LaunchConfig, list[str], str]],
    monkeypatch: pytest.MonkeyPatch,
    cores: int | None,
    count: int,
    threads: str,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    relaunch(count, [], Advice())
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    relaunch(count, [], Advice())
    assert [found for *_, found in started] == [threads, "3"]


def test_a_launcher_is_told_how_long_to_wait_where_it_listens(
    started: list[tuple[LaunchConfig, list[str], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = "shutdown_timeout"
    others = [(field.name, Any, None) for field in fields(LaunchConfig) if field.name != waits]
    relaunch(2, [], Advice())
    monkeypatch.setattr("torch.distributed.launcher.api.LaunchConfig", make_dataclass("LaunchConfig", others))
    relaunch(2, [], Advice())  # as with torch 2.11
    new, old = (config for config, *_ in started)
    assert getattr(new, waits, SHUTDOWN_TIMEOUT) == SHUTDOWN_TIMEOUT
    assert not hasattr(old, waits)
    assert old.nproc_per_node == 2


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
    finally:
        dist.destroy_process_group()


# One process imports for all, and they are its copies.
SHARING = """
import json, os
import torch.distributed as dist
from llmkit.system.processes import from_first, sharded

def work(rank, size):
    dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/store-{size}", rank=rank, world_size=size)
    for items in (1, 2, 7):
        result = sharded(list(range(items)), lambda item: item * item)
        total = from_first(sum(result) if result is not None else None)
        os.write(1, json.dumps([rank, items, result, total]).encode() + b"\\n")
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
    for number, items, result, total in got:
        assert result == ([n * n for n in range(items)] if number == 0 else None)
        assert total == sum(n * n for n in range(items))


def test_alone_it_is_a_loop() -> None:
    assert sharded([1, 2, 3], lambda item: -item) == [-1, -2, -3]
    assert from_first("x") == "x"
    assert default_processes() >= 1
