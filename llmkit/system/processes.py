"""Several processes: find out about them, agree with them, and refuse to run alone where more were asked for."""

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

# Set where a signal asked this process to stop at the next good moment.
told_to_stop = Event()


class Interrupted(Exception):
    """Shared work was left before its end, on all processes at once: one of them was told to stop."""


def launched() -> bool:
    """Whether a launcher (torchrun, accelerate launch, -n) started this process."""
    return "WORLD_SIZE" in os.environ


def world_size() -> int:
    """Processes of this run, as the launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process among them."""
    return int(os.environ.get("RANK", "0"))


def check_launch(asked: int | None) -> None:
    """Raises UserError where several processes were asked for and this one runs alone, or the other way round."""
    if launched():
        if asked not in (None, world_size()):
            raise UserError(
                f"-n {asked} under a launcher that started {world_size()} processes",
                remedy="leave -n out: the launcher decides",
            )
        return
    # On a CPU `accelerate launch --num_processes 2` starts one process, and leaves this behind.
    if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ:
        raise UserError(
            "accelerate launch was asked for several processes and started only this one (it does on a CPU)",
            remedy="use -n PROCESSES, or torchrun --nproc-per-node PROCESSES -m llmkit …, or "
            "accelerate launch --multi_gpu, which starts them with gloo where there is no GPU",
        )


def default_processes() -> int:
    """One process a GPU, and one where there is none."""
    import torch

    return max(1, torch.cuda.device_count())


def sharded(items: Sequence[T], work: Callable[[T], R]) -> list[R] | None:
    """`work` on every item, each whole on one process; the first process gets all results, in order.

    An item is computed alike however many processes there are. A process with nothing left to do repeats its
    last item for nothing, since a sharded model needs all processes in every forward pass. Raises Interrupted
    between two items, on all processes, where one of them is told to stop.
    """
    import torch.distributed as dist

    together = dist.is_initialized()
    size, me = (dist.get_world_size(), dist.get_rank()) if together else (1, 0)
    mine: list[R] = []
    for start in range(0, len(items), size):
        if anyone(told_to_stop.is_set()):
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
    """The first process's value, on every process."""
    import torch.distributed as dist

    if not dist.is_initialized():
        assert value is not None
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_cpu_group())
    assert box[0] is not None
    return box[0]


def anyone(flag: bool) -> bool:
    """Whether any process says so, on every process."""
    return bool(largest(int(flag)))


def largest(number: int) -> int:
    """The largest of the processes' numbers, on every one. Goes over the network of the CPUs: no GPU is waited for."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        return number
    votes = torch.tensor([number])
    dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=_cpu_group())
    return int(votes.item())


def _cpu_group() -> Any:
    """The group in which processes agree on things that are not on a GPU: the default one, where it can."""
    import torch.distributed as dist

    return None if dist.get_backend() == "gloo" else _gloo()


@cache
def _gloo() -> Any:
    import torch.distributed as dist

    return dist.new_group(backend="gloo")


def start_group() -> Any:
    """Join the processes that a launcher started, where there are any; returns this one's device."""
    from accelerate import PartialState

    state = PartialState(cpu=_no_gpu())
    if state.num_processes != world_size():
        raise UserError(
            f"{world_size()} processes were started and {state.num_processes} found each other",
            remedy="start them with -n, torchrun or accelerate launch, and look for an earlier error above",
        )
    return state.device


def end_group() -> None:
    """Leave the processes of this run in order, and this one at once; does nothing where it runs alone.

    What the interpreter takes down at its end, it takes down in any order: now and then a thread of gloo's
    outlives its group, and the process aborts after all its work is done, which fails the whole run.
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
