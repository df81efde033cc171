"""How a command's work is started: in this process, in several, or once more in smaller pieces."""

from __future__ import annotations

import sys
from collections.abc import Callable


class Ended(Exception):
    """The processes that this one started have ended, and it was said how."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


def go(processes: int | None, run: Callable[[], None], *, on_signal: str = "", one_a_gpu: bool = True) -> None:
    """Run in this process, or in several; everything was prepared and checked by now."""
    from llmkit.console import warn
    from llmkit.launch import relaunch, restart
    from llmkit.out_of_memory import OutOfMemory
    from llmkit.processes import check_launch, default_processes, end_group, launched

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
    restart(sys.argv[1:])  # out of the handler, which holds on to what fills the memory
