"""Errors that a user can fix. Each says what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from signal import Signals
from typing import Any


class UserError(Exception):
    """An error that the user can fix. The command prints it without a traceback and exits with 1.

    `problems` are one or more messages: all errors of a recipe are reported at once. `remedy` says what to do, in one
    line that starts in lower case and has no full stop.
    """

    def __init__(self, *problems: str, remedy: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.remedy = remedy


class Stopped(Exception):
    """A signal stopped a run early. Its state is saved, and it can be resumed."""

    def __init__(self, signal: Signals, message: str, run: Path) -> None:
        super().__init__(message)
        self.remedy = f"continue with the same command and --resume -o {run}"
        self.exit_code = 128 + signal


class EndedEarly(Exception):
    """A run was found not to be worth going on with. Its state is saved, and it can be resumed."""


class Ended(Exception):
    """The command exits with this code, and why has been printed."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` with the known name that is most similar to `given`; empty if none is similar."""
    near = get_close_matches(given, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """The differences between two trees of plain values, one string each: `key was X, is Y`."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = dict.fromkeys([*old, *new])
        return [d for n in names for d in differences(old.get(n), new.get(n), f"{name}.{n}" if name else n)]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{name}[{i}]")]
    return [] if old == new else [f"{name} was {old!r}, is {new!r}"]
