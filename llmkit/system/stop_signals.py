"""The signals that ask a command to save and stop, and when another one means: at once.

Job managers repeat themselves: they signal every process of a job, a launcher forwards what its processes have received
too, and a warning (SLURM's `--signal=USR1@120`) is followed by a SIGTERM while the work is being saved. So only Ctrl-C
stops at once, and not in the moment in which a terminal or a launcher may repeat the first signal.
"""

from __future__ import annotations

import signal
import time

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
ON_SIGNAL = "saving after this step; a later Ctrl-C stops at once, without saving"
received: list[signal.Signals] = []  # by the training runs of this process, oldest first
REPEATED = 2.0  # seconds in which a signal is a repetition of the first


def insists(number: int, since: float) -> bool:
    """Whether a signal that follows one of time.monotonic() `since` is a person who does not want to wait."""
    return number == signal.SIGINT and not repeats(since)


def repeats(since: float) -> bool:
    """Whether a signal that follows one of time.monotonic() `since` only repeats it."""
    return time.monotonic() - since <= REPEATED
