"""Start the processes of a command, forward signals to them, and report how they exited."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import psutil

from llmkit.system import exits
from llmkit.system.advice import Advice
from llmkit.system.console import say, warn
from llmkit.system.errors import Ended
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import check_launch, end_group, launched, processes_to_run
from llmkit.system.stop_signals import STOP_SIGNALS, insists

SHUTDOWN_TIMEOUT = 120  # seconds to save a checkpoint before the process is killed; 30 before torch 2.12


def run_in(processes: int | None, run: Callable[[], None], advice: Advice, *, one_per_gpu: bool = True) -> None:
    """Call `run` in this process, or rerun this command in several processes.

    The default is one process per GPU with `one_per_gpu`, and one otherwise. A run that ran out of memory and has
    smaller micro-batches in its recipe by now is restarted in a new process. Raises Ended once launched processes
    have exited.
    """
    check_launch(processes)
    count = processes_to_run(processes) if one_per_gpu or launched() else processes or 1
    if count > 1 and not launched():
        raise Ended(relaunch(count, sys.argv[1:], advice))
    try:
        run()
    except OutOfMemory as error:
        if not error.restart or launched():
            raise
        warn(exits.restarting(str(error)))
    else:
        return end_group()
    _restart([*sys.argv[1:], *advice.restart])  # outside the handler, whose traceback keeps the memory alive


def relaunch(count: int, arguments: Sequence[str], advice: Advice) -> int:
    """Run `llmkit ARGUMENTS` in `count` processes under torch's elastic launcher. Returns the exit code.

    Ctrl-C and the signals of job managers are forwarded to the processes, which then have SHUTDOWN_TIMEOUT seconds to
    save. If one process fails, the others are stopped.
    """
    # The launcher would log every failure again, after our own message.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    code, restart = _launch(count, arguments, advice)
    while restart:
        code, restart = _launch(count, [*arguments, *advice.restart], advice)
    return code


def _restart(arguments: Sequence[str]) -> None:
    """Replace this process by `llmkit ARGUMENTS`, which frees its memory."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "llmkit", *arguments])


def _launch(count: int, arguments: Sequence[str], advice: Advice) -> tuple[int, bool]:
    """Returns the exit code, and whether the processes ask for a restart."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Before torch 2.12 the timeout cannot be set: the launcher kills after 30 seconds.
    known = any(field.name == "shutdown_timeout" for field in fields(LaunchConfig))
    timeout: dict[str, Any] = {"shutdown_timeout": SHUTDOWN_TIMEOUT} if known else {}
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
            **timeout,
            signals_to_handle="SIGHUP,SIGQUIT",  # `_forward_signals` handles the others
            logs_specs=DefaultLogsSpecs(log_dir=name),
        )
        os.environ[exits.FOLDER] = name
        try:
            with _forward_signals(advice.on_signal):
                elastic_launch(config, sys.executable)("-m", "llmkit", *arguments)
        except SignalException as signalled:
            stopped = 128 + signalled.sigval
        except ChildFailedError as failed:
            exit_codes = {rank: int(failure.exitcode) for rank, failure in failed.failures.items()}
        finally:
            del os.environ[exits.FOLDER]
        reports = [report for report in exits.read_reports(Path(name)) if not (stopped and report.echo)]
    if not exit_codes and not reports:
        return stopped, False
    code = exits.print_cause(reports, exit_codes, count, advice)
    return stopped or code, not stopped and any(report.restart for report in reports)


@contextmanager
def _forward_signals(message: str) -> Iterator[None]:
    """On the first signal, print `message` and raise what makes the elastic launcher forward the signal and wait. On a
    later Ctrl-C, kill the processes that it waits for."""
    from torch.distributed.elastic.multiprocessing import SignalException

    first: list[float] = []

    def handle(number: int, frame: object) -> None:
        if not first:
            first.append(time.monotonic())
            if message:
                say(f"{signal.Signals(number).name}: {message}")
            raise SignalException(f"received signal {number}", signal.Signals(number))
        if insists(number, first[0]):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    previous: dict[signal.Signals, Callable[..., Any] | int | None] = {
        number: signal.signal(number, handle) for number in STOP_SIGNALS
    }
    try:
        yield
    finally:
        if not first:  # else this process ends, and a repetition must not kill it before it has said how
            for number, handler in previous.items():
                signal.signal(number, handler)
