"""Start the processes of a run, pass signals on to them, and say how they ended."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from llmkit.system import exits
from llmkit.system.console import say, warn
from llmkit.system.errors import Ended
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import check_launch, default_processes, end_group, launched

SAVING = 120  # seconds until a process that was told to stop is killed; 30 before torch 2.12


def run_in(processes: int | None, run: Callable[[], None], *, on_signal: str = "", one_a_gpu: bool = True) -> None:
    """Run in this process, or this command again in several: as many as told, or else one, or one a GPU.

    Where memory ran out and the run has smaller pieces by now, it goes on in a new process. Raises Ended where the
    processes have ended.
    """
    check_launch(processes)
    count = processes or (default_processes() if one_a_gpu and not launched() else 1)
    if count > 1 and not launched():
        raise Ended(relaunch(count, sys.argv[1:], on_signal=on_signal))
    try:
        run()
    except OutOfMemory as error:
        if not error.again or launched():
            raise
        warn(f"{error}: going on in smaller pieces from the last checkpoint")
    else:
        return end_group()
    _restart(sys.argv[1:])  # out of the handler, which holds on to what fills the memory


def relaunch(count: int, arguments: Sequence[str], *, on_signal: str = "") -> int:
    """Run `llmkit ARGUMENTS` in `count` processes under torch's elastic launcher, and tell how they ended.

    Returns the exit code. Ctrl-C and SIGTERM are passed on to the processes, which have SAVING seconds to save;
    `on_signal` is what to say then. Where one process fails, the others are ended.
    """
    for threads in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):  # of torch and of tokenizers
        os.environ.setdefault(threads, str(max(1, (os.cpu_count() or 1) // count)))
    # The processes say what happened; the launcher would say it again, in its own words.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    code, again = _launch(count, arguments, on_signal)
    while again:
        code, again = _launch(count, [*arguments, "--resume"], on_signal)
    return code


def _restart(arguments: Sequence[str]) -> None:
    """Put `llmkit ARGUMENTS --resume` in the place of this process, whose memory is given back."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "llmkit", *arguments, "--resume"])


def _launch(count: int, arguments: Sequence[str], on_signal: str) -> tuple[int, bool]:
    """The exit code, and whether the processes ask to be started again."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Before torch 2.12 the launcher cannot be told how long to wait: it kills after 30 seconds.
    known = any(field.name == "shutdown_timeout" for field in fields(LaunchConfig))
    patience: dict[str, Any] = {"shutdown_timeout": SAVING} if known else {}
    exit_codes: dict[int, int] = {}
    stopped = 0
    with TemporaryDirectory(prefix="llmkit-") as name:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.1,
            **patience,
            signals_to_handle="SIGHUP,SIGQUIT",  # the others are ours
            logs_specs=DefaultLogsSpecs(log_dir=name),
        )
        os.environ[exits.FOLDER] = name
        try:
            with _signals(on_signal):
                elastic_launch(config, sys.executable)("-m", "llmkit", *arguments)
        except SignalException as signalled:
            stopped = 128 + signalled.sigval
        except ChildFailedError as failed:
            exit_codes = {rank: int(failure.exitcode) for rank, failure in failed.failures.items()}
        finally:
            del os.environ[exits.FOLDER]
        found = exits.read(Path(name))
    if not exit_codes and not found:
        return stopped, False
    told = exits.tell(found, exit_codes, count, arguments[0] if arguments else "")
    return stopped or told, not stopped and any(end.again for end in found)


@contextmanager
def _signals(on_signal: str) -> Iterator[None]:
    """Raise what the elastic launcher passes on to its processes, and say that it was heard."""
    from torch.distributed.elastic.multiprocessing import SignalException

    def receive(number: int, frame: object) -> None:
        if on_signal:
            say(f"{signal.Signals(number).name}: {on_signal}")
        raise SignalException(f"received signal {number}", signal.Signals(number))

    before: dict[signal.Signals, Callable[..., Any] | int | None] = {
        number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
