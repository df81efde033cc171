"""Progress on stderr: one live line on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.text import Text

from llmkit.system.console import _stderr, count, duration, is_main, say

PLAIN_EVERY = 5.0  # seconds between plain lines, without a terminal


class Progress:
    """A progress line. Use as a context manager, and call it with the parts of the line."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = time.monotonic()
        self._live = _stderr.status("", spinner="dots") if _stderr.is_terminal and is_main() else None

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, parts: Mapping[str, Any]) -> None:
        """Show the line. Without a terminal, skip it if the last one is less than PLAIN_EVERY seconds old."""
        now = time.monotonic()
        if not is_main() or (self._live is None and now - self._last < PLAIN_EVERY):
            return
        self._last = now
        line = self._name + "  " + "  ".join(f"{key} {value}".strip() for key, value in parts.items())
        if self._live:
            self._live.update(Text(line))
        else:
            say(line)


# Called after every batch of this process, with the tokens that are done and all tokens that this process has to do.
Advance = Callable[[int, int], None]


class Course:
    """The progress of inference in parts, as a line: `evaluating  96 of 500 features  tokens/s …`.

    `total` counts the job's `units`, such as features; `done` those that were done before a resume.
    """

    def __init__(self, name: str, total: int, units: str, done: int = 0) -> None:
        self._progress, self._total, self._units = Progress(name), total, units
        self._done_before = self._done = done
        self._tokens, self._start = 0, time.monotonic()

    def __enter__(self) -> Course:
        self._progress.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.__exit__()

    def part(self, size: int) -> Advance:
        """Start the next part, of `size` units. Returns the function to call with its progress."""
        first, tokens_before = self._done, self._tokens
        self._done += size

        def advance(tokens: int, part_tokens: int) -> None:
            # Estimate by tokens, not by units, because the longest units come first.
            done = first + size * tokens / part_tokens
            self._tokens = tokens_before + tokens
            seconds = time.monotonic() - self._start
            left = seconds * (self._total - done) / (done - self._done_before)
            self._progress(
                {
                    "": f"{int(done):,} of {self._total:,} {self._units}",
                    "tokens/s": count(self._tokens / seconds),
                    "left": duration(max(0.0, left)),
                }
            )

        return advance
