"""A file of results that is written in parts: killed, it is gone on with, and it appears whole at its end.

    .NAME.partial        what is written so far
    .NAME.partial.json   what it is made of, and how much of it is whole

Both lie beside the file. What stands behind the last whole part is cut off when the file is opened again, so the
bytes are the same as if nothing had happened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llmkit.system.errors import UserError
from llmkit.system.files import to_json, write_whole

ELSEWHERE = "choose another file with -o"


@dataclass(frozen=True)
class Begun:
    """What there is of a file: the `key` it was begun with, its whole `parts` as their writer counts them, bytes."""

    key: dict[str, Any]
    parts: dict[str, Any]
    size: int


class PartialFile:
    """The file at `path`, until it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._aside = path.with_name(f".{path.name}.partial")
        self._state = path.with_name(f".{path.name}.partial.json")

    def check(self) -> None:
        """Raises UserError where there is a file already, or can be none."""
        if self.path.exists():
            raise UserError(f"{self.path} is there already", remedy=f"{ELSEWHERE}, or remove it")
        folder = next(folder for folder in self.path.absolute().parents if folder.exists())
        if not folder.is_dir():
            raise UserError(f"{self.path} cannot be written: {folder} is no folder", remedy=ELSEWHERE)
        if not os.access(folder, os.W_OK):
            raise UserError(f"{self.path} cannot be written: {folder} is closed to you", remedy=ELSEWHERE)

    def begun(self) -> Begun | None:
        """What was written before, where it can be gone on with."""
        try:
            begun = Begun(**json.loads(self._state.read_text(encoding="utf-8")))
            return begun if self._aside.stat().st_size >= begun.size else None
        except (FileNotFoundError, ValueError, TypeError):  # nothing there, or not what a whole part left
            return None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other commands from writing the same file. Raises UserError where one does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        name = self.path.with_name(f".{self.path.name}.lock")
        lock = FileLock(name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.path} is being written by another command", remedy=f"wait for it, or {ELSEWHERE}"
            ) from None
        try:
            self.check()  # another command may have ended just now
            yield
        finally:
            name.unlink(missing_ok=True)  # nobody waits for it: who finds it taken gives up
            lock.release()

    def cut(self, size: int) -> None:
        """Go on after the first `size` bytes."""
        with self._aside.open("ab") as file:
            file.truncate(size)

    def append(self, text: str, key: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
        """One more part, after which there are `parts`; it is on the disk before it counts."""
        with self._aside.open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        write_whole(self._state, to_json({"key": key, "parts": parts, "size": size}))

    def finish(self) -> None:
        """Let the file appear."""
        self._aside.replace(self.path)
        for left in (self._state, *self.path.parent.glob(f".{self._state.name}.*.partial")):  # of a killed writer
            left.unlink(missing_ok=True)
