"""Exit reports: each process of a run writes down why it exits, and the launcher prints the one that explains the rest.

If processes printed their own errors, a shared error would appear once per process, and one process's error would
drown in its peers' complaints that it is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from llmkit.system.advice import Advice
from llmkit.system.console import fail, say, warn
from llmkit.system.errors import Ended, Stopped, UserError
from llmkit.system.files import UNWRITABLE, write_whole
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import launched, rank

# The folder for exit reports. Only our own launcher sets it: under torchrun and accelerate a process prints its error.
FOLDER = "LLMKIT_EXIT_REPORTS"


@dataclass(frozen=True)
class ExitReport:
    """Why a process exited: its exit code, what it would have printed, and the time in seconds since the epoch.

    An `echo` only says that another process is gone. `restart` asks the launcher to start the processes again.
    """

    rank: int
    time: float
    code: int
    problems: Sequence[str] = ()
    remedy: str = ""
    traceback: str = ""
    echo: bool = False
    restart: bool = False


def reports_to_launcher() -> bool:
    """Whether this process leaves its messages to our launcher."""
    return FOLDER in os.environ


def exit_with(code: int, problems: Sequence[str], remedy: str, *, restart: bool = False) -> NoReturn:
    """Print the problems, or report them to the launcher, and exit."""
    if reports_to_launcher():
        _write(ExitReport(rank(), time.time(), code, problems, remedy, restart=restart))
    else:
        fail(problems, remedy)
        _write_torch_error_file("; ".join(problems))
    _exit(code)


def exit_for(error: Exception) -> NoReturn:
    """Exit because of an error: with a message if the user can fix it, otherwise with its traceback."""
    if isinstance(error, Ended):
        sys.exit(error.exit_code)
    if isinstance(error, Stopped):
        exit_with(error.exit_code, [str(error)], error.remedy)
    if isinstance(error, UserError):
        exit_with(1, error.problems, error.remedy, restart=isinstance(error, OutOfMemory) and error.restart)
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        place = f"{error.filename}: " if error.filename else ""
        remedy = "free some space or choose another folder, and run the command again"
        exit_with(1, [f"{place}{os.strerror(error.errno)}"], remedy)
    trace = "".join(traceback.format_exception(error))
    if not reports_to_launcher():
        _write_torch_error_file(trace)
        raise error
    _write(ExitReport(rank(), time.time(), 1, traceback=trace, echo=_is_echo(error)))
    _exit(1)


def read_reports(folder: Path) -> list[ExitReport]:
    """The exit reports in a folder, oldest first."""
    reports = (ExitReport(**json.loads(file.read_text())) for file in folder.glob("*.json"))
    return sorted(reports, key=lambda report: report.time)


def print_cause(reports: Sequence[ExitReport], exit_codes: Mapping[int, int], count: int, advice: Advice) -> int:
    """Print why `count` processes exited. Returns the exit code for the command.

    `exit_codes` maps the ranks of failed processes to their exit codes, first failure first. Negative codes are
    signals; the launcher itself may have stopped all but the first.
    """
    report = next((report for report in reports if not report.echo), None)
    if report is None:
        for number, code in exit_codes.items():
            if code < 0 and -code != signal.SIGTERM:
                return _print_killed(number, signal.Signals(-code), count, advice)
        if not reports:
            first = next(iter(exit_codes.values()))
            return first if first > 0 else 128 - first
        report = reports[0]
    others = (other for other in reports if other.rank != report.rank and not other.echo)
    shared = any(other.problems == report.problems for other in others)
    if report.rank != 0 and not shared and not report.restart:
        say(f"process {report.rank} of {count} failed:")
    if report.restart:
        warn(restarting("; ".join(report.problems)))
    elif report.traceback:
        sys.stderr.write(report.traceback)
    else:
        fail(report.problems, report.remedy)
    return report.code


def restarting(problem: str) -> str:
    """The warning before an automatic restart."""
    return f"{problem}: resuming from the last checkpoint with smaller micro-batches"


def _write(report: ExitReport) -> None:
    write_whole(Path(os.environ[FOLDER]) / f"{report.rank}.json", json.dumps(asdict(report)))


def _write_torch_error_file(message: str) -> None:
    """torchrun and accelerate launch read this file to print the root cause at the end."""
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        Path(file).write_text(json.dumps({"message": message, "timestamp": int(time.time())}))


def _exit(code: int) -> NoReturn:
    """Exit at once if there are peers: they wait for this process, and interpreter shutdown may wait for them."""
    if not launched():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _print_killed(number: int, by: signal.Signals, count: int, advice: Advice) -> int:
    problem = f"process {number} of {count} (counting from 0) was killed by {by.name}"
    resume = f", then {advice.resume}" if advice.resume else ""
    if by is signal.SIGKILL:
        problem += "; unless someone killed it by hand, the system did, because memory ran out"
        less_memory = f"{advice.less_memory}, or " if advice.less_memory else ""
        fail([problem], f"{less_memory}start fewer processes with -n{resume}")
    else:
        fail([problem], f"read its last output above{resume}")
    return 128 + by


def _is_echo(error: Exception) -> bool:
    """Whether an error only says that a peer does not answer. gloo and NCCL put their names into such errors."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
