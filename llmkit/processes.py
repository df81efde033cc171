"""Several processes: start them, find out about them, and refuse to run alone where more were asked for."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from signal import Signals
from typing import Any, TypeVar
from uuid import uuid4

from llmkit.console import fail
from llmkit.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

SAVING = 120  # seconds until a process that was told to stop is killed


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


def relaunch(count: int, arguments: Sequence[str]) -> int:
    """Run `llmkit ARGUMENTS` in `count` processes under torch's elastic launcher; returns the exit code.

    Ctrl-C and SIGTERM are passed on to the processes, which have SAVING seconds to save.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for threads in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):  # of torch and of tokenizers
        os.environ.setdefault(threads, str(max(1, (os.cpu_count() or 1) // count)))
    # The processes say what happened; the launcher would say it again, in its own words.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
        shutdown_timeout=SAVING,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "llmkit", *arguments)
    except SignalException as stopped:
        return 128 + stopped.sigval
    except ChildFailedError as failed:
        first, failure = failed.get_first_failure()
        code = int(failure.exitcode)
        if code > 0:
            return code
        fail(
            [f"process {first} was killed by {Signals(-code).name}, and the others were stopped"],
            "see whether memory ran out, which is what SIGKILL mostly means; the same command goes on from what is "
            "whole, a run with --resume",
        )
        return 128 - code
    return 0


def sharded(items: Sequence[T], work: Callable[[T], R]) -> list[R] | None:
    """`work` on every item, each whole on one process; the first process gets all results, in order.

    An item is computed alike however many processes there are. A process with nothing left to do repeats its
    last item for nothing, since a sharded model needs all processes in every forward pass.
    """
    import torch.distributed as dist

    if not dist.is_initialized():
        return [work(item) for item in items]
    size, me = dist.get_world_size(), dist.get_rank()
    mine: list[R] = []
    for start in range(0, len(items), size):
        result = work(items[min(start + me, len(items) - 1)])
        if start + me < len(items):
            mine.append(result)
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
    """Whether any process says so, on every process. Goes over the network of the CPUs: no GPU is waited for."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        return flag
    votes = torch.tensor([int(flag)])
    dist.all_reduce(votes, group=_cpu_group())
    return bool(votes.item())


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
