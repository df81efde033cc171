"""Progress on stderr: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from llmkit.system.console import _stderr, count, duration, is_main, say

if TYPE_CHECKING:
    from llmkit.system.bars import Bar

PLAIN_EVERY = 5.0  # seconds between plain lines, without a terminal
WINDOW = 20.0  # seconds that a rate looks back: long enough to be read, short enough to follow


class Rate:
    """How many units a second come in of late: a mean in which what is WINDOW seconds old counts for a third."""

    def __init__(self) -> None:
        self._units = self._seconds = 0.0
        self._since = time.monotonic()

    def skip(self) -> None:
        """Leave out the time since the last units: it was spent on something else."""
        self._since = time.monotonic()

    def add(self, units: float) -> None:
        """Count units that came in since the last ones."""
        now = time.monotonic()
        passed, self._since = now - self._since, now
        fade = math.exp(-passed / WINDOW)
        self._units = self._units * fade + units
        self._seconds = self._seconds * fade + passed

    @property
    def per_second(self) -> float:
        """Units per second; 0 before the first."""
        return self._units / self._seconds if self._seconds else 0.0


class Progress:
    """The progress of some work. Use as a context manager, and call it with what there is to say.

    On a terminal it is a bar, below the bars of work that it is a part of. A terminal that cannot move its cursor
    (TERM=dumb) gets plain lines. Only the main process shows any.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = time.monotonic()
        self._share, self._speed = 0.0, Rate()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if _stderr.is_terminal and not _stderr.is_dumb_terminal and is_main():
            from llmkit.system.bars import Bar

            self._bar = Bar(self._name, _stderr)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.remove()
            self._bar = None

    def begin(self, share: float) -> None:
        """Begin after a share of the work that was done before: it says nothing about how long the rest takes."""
        self._share, self._speed = share, Rate()

    def __call__(self, parts: Mapping[str, Any], share: float | None = None, left: float | None = None) -> None:
        """Show how far the work is.

        `parts` are names and values, the most important first: a narrow terminal shows those that fit. `share` is the
        share of the work that is done, from 0 to 1, if it is known. The seconds that are `left` follow from it, unless
        they are given. Without a bar, the line is skipped if the last one is less than PLAIN_EVERY seconds old.
        """
        if not is_main():
            return
        if share is not None and left is None:
            self._speed.add(share - self._share)
            self._share = share
            speed = self._speed.per_second
            left = (1 - share) / speed if speed > 0 else None
        shown = [f"{name} {value}".strip() for name, value in parts.items()]
        end = f"left {duration(max(left, 0.0))}" if left is not None and math.isfinite(left) else ""
        if self._bar:
            self._bar.show(shown, end, share)
            return
        now = time.monotonic()
        if now - self._last >= PLAIN_EVERY:
            self._last = now
            say("  ".join(filter(None, [self._name, *shown, end])))


# Called after every batch of this process, with the tokens that are done and all tokens that this process has to do.
Advance = Callable[[int, int], None]


class Course:
    """The progress of inference in parts: `evaluating  96 of 500 features  tokens/s …`.

    `total` counts the job's `units`, such as features; `done` those that were done before a resume.
    """

    def __init__(self, name: str, total: int, units: str, done: int = 0) -> None:
        self._progress, self._total, self._units, self._done = Progress(name), total, units, done
        self._speed = Rate()

    def __enter__(self) -> Course:
        self._progress.__enter__()
        self._progress.begin(self._done / max(self._total, 1))
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.__exit__()

    def part(self, size: int) -> Advance:
        """Start the next part, of `size` units. Returns the function to call with its progress."""
        first, before = self._done, 0
        self._done += size

        def advance(tokens: int, part_tokens: int) -> None:
            nonlocal before
            # Estimate by tokens, not by units, because the longest units come first.
            done = first + size * tokens / part_tokens
            self._speed.add(tokens - before)
            before = tokens
            self._progress(
                {
                    "": f"{int(done):,} of {self._total:,} {self._units}",
                    "tokens/s": count(self._speed.per_second),
                },
                done / self._total,
            )

        return advance
