"""What a command tells the launcher about itself, so that the launcher knows no command by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """How to stop, resume and shrink a command. Sentences have no final period; empty ones are left out.

    `on_signal` is printed when the command is asked to stop. `resume` tells the user how to continue after a crash,
    `less_memory` how to need less memory per process. `restart` are the arguments to append when the processes ask for
    a restart.
    """

    on_signal: str = ""
    resume: str = ""
    less_memory: str = ""
    restart: tuple[str, ...] = ()
