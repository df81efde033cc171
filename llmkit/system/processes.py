"""The processes of a run: who they are, how they share work and agree, and errors if fewer run than were asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from threading import Event
from typing import Any, TypeVar

from llmkit.system.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

# Set by a signal handler: this process should stop at the next point where it can.
stop_requested = Event()


class Interrupted(Exception):
    """Shared work was abandoned on all processes, because one of them was asked to stop."""


def launched() -> bool:
    """Whether a launcher (torchrun, accelerate launch, -n) started this process."""
    return "WORLD_SIZE" in os.environ


def world_size() -> int:
    """The number of processes, according to the launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def check_launch(asked: int | None) -> None:
    """Raises UserError if -n and the launcher disagree, or if accelerate started only one of several processes."""
    if launched():
        if asked not in (None, world_size()):
            raise UserError(
                f"-n {asked} under a launcher that started {world_size()} processes",
                remedy="leave -n out: the launcher decides",
            )
        return
    # On a CPU `accelerate launch --num_processes 2` starts one process, with these variables set.
    if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ:
        raise UserError(
            "accelerate launch was asked for several processes and started only this one (it does on a CPU)",
            remedy="use -n PROCESSES, or torchrun --nproc-per-node PROCESSES -m llmkit …, or "
            "accelerate launch --multi_gpu, which starts them with gloo where there is no GPU",
        )


def default_processes() -> int:
    """One process per GPU, or one without a GPU."""
    import torch

    return max(1, torch.cuda.device_count())


def processes_to_run(asked: int | None) -> int:
    """The number of processes that a command runs in: those of a launcher, those of -n, or one per GPU."""
    return world_size() if launched() else asked or default_processes()


def _same(result: Any) -> Any:
    return result


def sharded(items: Sequence[T], work: Callable[[T], R], finish: Callable[[R], Any] = _same) -> list[Any] | None:
    """Apply `work` to every item, each on one process. Returns all results in order, on the first process only.

    `finish` turns what `work` returned into the result, once the work on the next item has begun: a GPU computes
    meanwhile.

    Results do not depend on the number of processes. A process that runs out of items repeats the last one and drops
    the result, since a sharded model needs all processes in every forward pass. Raises Interrupted on all processes,
    between two items, if one of them is asked to stop.
    """
    import torch.distributed as dist

    together = dist.is_initialized()
    size, me = (dist.get_world_size(), dist.get_rank()) if together else (1, 0)
    mine: list[Any] = []
    begun: list[R] = []  # at most one
    stopped = LastMaximum()
    for start in range(0, len(items), size):
        if stopped(stop_requested.is_set()):
            raise Interrupted
        result = work(items[min(start + me, len(items) - 1)])
        mine += map(finish, begun)
        begun = [result] if start + me < len(items) else []
    mine += map(finish, begun)
    if not together:
        return mine
    gathered: list[Any] | None = [None] * size if me == 0 else None
    dist.gather_object(mine, gathered, group=_cpu_group())
    if gathered is None:
        return None
    return [gathered[number % size][number // size] for number in range(len(items))]


def from_first(value: T | None) -> T:
    """Broadcast the first process's value to every process."""
    import torch.distributed as dist

    if not dist.is_initialized():
        assert value is not None
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_cpu_group())
    assert box[0] is not None
    return box[0]


def any_process(flag: bool) -> bool:
    """Whether the flag is set on any process; the same answer on all of them."""
    return bool(max_over_processes(int(flag)))


def max_over_processes(number: float) -> float:
    """The largest number of any process; the same on all of them. Uses gloo, so that no GPU has to synchronize."""
    started = _start_maximum(number)
    return started() if started is not None else number


class LastMaximum:
    """The largest number of any process, a call late, so that no process waits for another.

    A call passes on this process's number, and returns the largest of those that were passed at the call before: 0 at
    the first one. All processes must call as often, and get the same. A process that runs alone gets its own number at
    once.
    """

    def __init__(self) -> None:
        self._before: Callable[[], float] = lambda: 0.0

    def __call__(self, number: float) -> float:
        started = _start_maximum(number)
        if started is None:
            return number
        before, self._before = self._before, started
        return before()


def _start_maximum(number: float) -> Callable[[], float] | None:
    """Start to find the largest number of any process. Returns a function that waits for it; None without a group."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        return None
    votes = torch.tensor([number], dtype=torch.float64)
    work = dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=_cpu_group(), async_op=True)

    def wait() -> float:
        work.wait()
        return float(votes.item())

    return wait


def _cpu_group() -> Any:
    """A group for values on the CPU: the default one if its backend is gloo.

    NCCL would copy pickled objects through GPU memory, and needs to know the device of each process for a barrier.
    """
    import torch.distributed as dist

    return None if dist.get_backend() == "gloo" else _gloo()


@cache
def _gloo() -> Any:
    import torch.distributed as dist

    return dist.new_group(backend="gloo")


def start_group() -> Any:
    """Join the process group of the launcher, if there is one. Returns this process's device."""
    if not launched():
        import torch

        return torch.device("cpu" if _no_gpu() else "cuda")
    from accelerate import PartialState

    state = PartialState(cpu=_no_gpu())
    if state.num_processes != world_size():
        raise UserError(
            f"{world_size()} processes were started and {state.num_processes} found each other",
            remedy="start them with -n, torchrun or accelerate launch, and look for an earlier error above",
        )
    return state.device


def end_group() -> None:
    """Destroy the process group and exit at once. Does nothing if this process runs alone.

    Interpreter shutdown destroys objects in any order: now and then a gloo thread outlives its group, and the process
    aborts after all its work is done, which would fail the whole run.
    """
    import torch.distributed as dist

    if not dist.is_initialized():
        return
    dist.barrier(group=_cpu_group())
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _no_gpu() -> bool:
    import torch

    return not torch.cuda.is_available()
