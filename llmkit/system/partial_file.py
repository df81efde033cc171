"""A results file that is written in parts, resumes after a kill, and appears once it is complete.

    .NAME.partial        the parts written so far
    .NAME.partial.json   what they are made from, and the size of the complete parts

Both are in the folder of the file. On resume, anything after the last complete part is truncated, so that the result
has the same bytes as without the kill.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llmkit.system.errors import UserError
from llmkit.system.files import to_json, write_whole

ELSEWHERE = "choose another file with -o"


@dataclass(frozen=True)
class State:
    """The state of a partial file.

    `key` is what it is made from, `parts` the writer's own counts of what is complete, `size` that in bytes.
    """

    key: dict[str, Any]
    parts: dict[str, Any]
    size: int


class PartialFile:
    """The file at `path`, until it is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._state = path.with_name(f".{path.name}.partial.json")

    def check(self) -> None:
        """Raises UserError if the file exists or cannot be created."""
        if self.path.exists():
            raise UserError(f"{self.path} already exists", remedy=f"{ELSEWHERE}, or remove it")
        folder = next(folder for folder in self.path.absolute().parents if folder.exists())
        if not folder.is_dir():
            raise UserError(f"{self.path} cannot be written: {folder} is not a folder", remedy=ELSEWHERE)
        if not os.access(folder, os.W_OK):
            raise UserError(f"{self.path} cannot be written: no write permission in {folder}", remedy=ELSEWHERE)

    def begun(self) -> State | None:
        """The state that an earlier command left, if it can be resumed."""
        try:
            state = State(**json.loads(self._state.read_text(encoding="utf-8")))
            return state if self._partial.stat().st_size >= state.size else None
        except (FileNotFoundError, ValueError, TypeError):  # no earlier command, or a damaged state
            return None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the file against other commands. Raises UserError if one is writing it, or if the file exists."""
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
            self.check()  # another command may have finished the file just now
            yield
        finally:
            name.unlink(missing_ok=True)  # safe: no other command waits for the lock
            lock.release()

    def cut(self, size: int) -> None:
        """Truncate the partial file to `size` bytes."""
        with self._partial.open("ab") as file:
            file.truncate(size)

    def append(self, part: str | bytes, key: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
        """Append a part; `parts` are the counts that include it. The part is synced to disk before the state."""
        with self._partial.open("ab") as file:
            file.write(part.encode() if isinstance(part, str) else part)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        write_whole(self._state, to_json({"key": key, "parts": parts, "size": size}))

    def finish(self, convert: Callable[[Path, Path], None] | None = None) -> None:
        """Rename the partial file to its final name, and remove the state.

        A format that cannot grow in parts is written at the end: `convert` writes it from the first path to the second.
        """
        if convert is None:
            self._partial.replace(self.path)
        else:
            aside = self._partial.with_name(f"{self._partial.name}.whole")
            convert(self._partial, aside)
            aside.replace(self.path)
            self._partial.unlink()
        for leftover in (self._state, *self.path.parent.glob(f".{self._state.name}.*.partial")):  # of a killed writer
            leftover.unlink(missing_ok=True)
