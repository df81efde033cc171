"""Progress on stderr: one live line on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from llmkit.system.console import _stderr, is_main, say

PLAIN_EVERY = 5.0  # seconds between plain lines, where there is no terminal


class Progress:
    """One line that says how far a job is. Use as a context manager; call it with the line's parts."""

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
        """Show the line: now on a terminal, elsewhere when the last one is a few seconds old."""
        now = time.monotonic()
        if not is_main() or (self._live is None and now - self._last < PLAIN_EVERY):
            return
        self._last = now
        line = self._name + "  " + "  ".join(f"{key} {value}".strip() for key, value in parts.items())
        if self._live:
            self._live.update(Text(line))
        else:
            say(line)
