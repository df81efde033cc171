"""How the processes of a run ended: each writes its end down, and the launcher tells the one that explains the rest.

Printed by the processes themselves, an error that they share would stand there once for each, and the error of one
of them among the complaints of the others that it is gone.
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

from llmkit.system.console import fail, say, warn
from llmkit.system.errors import Ended, Stopped, UserError
from llmkit.system.files import UNWRITABLE, write_whole
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import launched, rank

# The folder to write to: set by our own launcher alone. Under torchrun and accelerate a process prints its error.
FOLDER = "LLMKIT_ENDS"


@dataclass(frozen=True)
class End:
    """How a process ended: what it would have printed, its exit code, and when (seconds since the epoch).

    An `echo` says no more than that another process is gone. `again` asks for a start with --resume.
    """

    rank: int
    when: float
    code: int
    problems: Sequence[str] = ()
    remedy: str = ""
    traceback: str = ""
    echo: bool = False
    again: bool = False


def told_by_launcher() -> bool:
    """Whether the launcher, and not this process, is to tell how it ended."""
    return FOLDER in os.environ


def end(code: int, problems: Sequence[str], remedy: str, *, again: bool = False) -> NoReturn:
    """End this process, having said why, or written it down for the launcher to say."""
    if told_by_launcher():
        _write(End(rank(), time.time(), code, problems, remedy, again=again))
    else:
        fail(problems, remedy)
        _note_for_torch("; ".join(problems))
    _leave(code)


def end_for(error: Exception) -> NoReturn:
    """End this process for an error: what a user can fix is a message, and anything else raised again."""
    if isinstance(error, Ended):
        sys.exit(error.exit_code)
    if isinstance(error, Stopped):
        end(error.exit_code, [str(error)], error.remedy)
    if isinstance(error, UserError):
        end(1, error.problems, error.remedy, again=isinstance(error, OutOfMemory) and error.again)
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        place = f"{error.filename}: " if error.filename else ""
        remedy = "make room or choose another folder, and run the command again"
        end(1, [f"{place}{os.strerror(error.errno)}"], remedy)
    trace = "".join(traceback.format_exception(error))
    if not told_by_launcher():
        _note_for_torch(trace)
        raise error
    _write(End(rank(), time.time(), 1, traceback=trace, echo=_is_echo(error)))
    _leave(1)


def read(folder: Path) -> list[End]:
    """The ends that were written down, the first of them first."""
    return sorted((End(**json.loads(file.read_text())) for file in folder.glob("*.json")), key=lambda end: end.when)


def tell(ends: Sequence[End], exit_codes: Mapping[int, int], count: int, command: str) -> int:
    """Say why `count` processes ended, and return the exit code that says it too.

    `exit_codes` holds those of the processes that failed, by rank, those that failed first first; a negative one is
    a signal. Others than the first may have been ended by the launcher.
    """
    end = next((end for end in ends if not end.echo), None)
    if end is None:
        for number, code in exit_codes.items():
            if code < 0 and -code != signal.SIGTERM:
                return _tell_killed(number, signal.Signals(-code), count, command)
        if not ends:
            first = next(iter(exit_codes.values()))
            return first if first > 0 else 128 - first
        end = ends[0]
    shared = any(other.rank != end.rank and not other.echo and other.problems == end.problems for other in ends)
    if end.rank != 0 and not shared and not end.again:
        say(f"process {end.rank} of {count} failed:")
    if end.again:
        warn(f"{'; '.join(end.problems)}: going on in smaller pieces from the last checkpoint")
    elif end.traceback:
        sys.stderr.write(end.traceback)
    else:
        fail(end.problems, end.remedy)
    return end.code


def _write(end: End) -> None:
    write_whole(Path(os.environ[FOLDER]) / f"{end.rank}.json", json.dumps(asdict(end)))


def _note_for_torch(message: str) -> None:
    """torchrun and accelerate launch close with the error of the process that failed first, where it notes it."""
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        Path(file).write_text(json.dumps({"message": message, "timestamp": int(time.time())}))


def _leave(code: int) -> NoReturn:
    """One of several goes at once: the others wait for it, and what the interpreter takes down may wait for them."""
    if not launched():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _tell_killed(number: int, by: signal.Signals, count: int, command: str) -> int:
    trains = command in ("pretrain", "finetune")
    what = f"process {number} of {count} (they are counted from 0) was killed by {by.name}"
    go_on = ", then go on with the same command"
    go_on = f"{go_on} and --resume" if trains else go_on if command == "tokenize" else ""
    if by is not signal.SIGKILL:
        fail([what], f"look above for what it said last{go_on}")
    else:
        halve = {
            "tokenize": "",
            "eval": "halve --batch-size, or ",
        }.get(
            command,
            "halve train.per_device_train_batch_size and double train.gradient_accumulation_steps, which keeps the "
            "batch, or ",
        )
        fail(
            [f"{what}: if nobody did it by hand, the system did, because memory ran out"],
            f"{halve}start fewer processes with -n{go_on}",
        )
    return 128 + by


def _is_echo(error: Exception) -> bool:
    """Whether an error only says that another process does not answer: gloo's and NCCL's, which name themselves."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
