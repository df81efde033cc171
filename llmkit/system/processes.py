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


def sharded(items: Sequence[T], work: Callable[[T], R]) -> list[R] | None:
    """Apply `work` to every item, each on one process. Returns all results in order, on the first process only.

    Results do not depend on the number of processes. A process that runs out of items repeats the last one and drops
    the result, since a sharded model needs all processes in every forward pass. Raises Interrupted on all processes,
    between two items, if one of them is asked to stop.
    """
    import torch.distributed as dist

    together = dist.is_initialized()
    size, me = (dist.get_world_size(), dist.get_rank()) if together else (1, 0)
    mine: list[R] = []
    for start in range(0, len(items), size):
        if any_process(stop_requested.is_set()):
            raise Interrupted
        result = work(items[min(start + me, len(items) - 1)])
        if start + me < len(items):
            mine.append(result)
    if not together:
        return mine
    gathered: list[Any] | None = [None] * size if me == 0 else None
    dist.gather_object(mine, gathered)
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


def max_over_processes(number: int) -> int:
    """The largest number of any process; the same on all of them. Uses gloo, so that no GPU has to synchronize."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        return number
    votes = torch.tensor([number])
    dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=_cpu_group())
    return int(votes.item())


def _cpu_group() -> Any:
    """A group for values on the CPU: the default one if its backend is gloo."""
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
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _no_gpu() -> bool:
    import torch

    return not torch.cuda.is_available()
