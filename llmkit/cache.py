"""Work that is done once and found again by its content.

A piece of work is a folder named by the hash of everything that decides what is in it. It is built aside,
under a lock, and renamed into place, so a reader sees a whole one or none; of several processes that want
the same one, the first builds it and the others wait. (This is why data is prepared before a process group
exists: nobody can time out.)
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from llmkit.console import say
from llmkit.errors import UserError, differences


def cache_folder() -> Path:
    """Where prepared data is kept: $LLMKIT_CACHE, or llmkit under $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("LLMKIT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmkit"


def fingerprint(value: Any) -> str:
    """Hash of plain values (what JSON can hold), the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def file_fingerprint(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:20]


def say_why_missed(folder: Path, key: Mapping[str, Any]) -> None:
    """Say what changed, where a single thing in `key` tells apart what is wanted and what was made before.

    What is made is known by the `key` in its manifest.json.
    """
    made = [json.loads(file.read_text(encoding="utf-8"))["key"] for file in folder.parent.glob("*/manifest.json")]
    for told in (differences(other, json.loads(json.dumps(key))) for other in made):
        if len(told) == 1:
            say(f"{folder.parent.name} made before do not fit: {told[0]}")
            return


def built_once(folder: Path, build: Callable[[Path], None], *, is_whole: Callable[[Path], bool]) -> Path:
    """`folder`, built by `build(aside)` unless it is there already.

    `build` gets the same folder aside again after it was killed, so it may go on from what is there.
    Raises UserError where the place cannot be written.
    """
    if is_whole(folder):
        return folder
    place = folder.resolve()  # which has a name, where `folder` may be "."
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.parent / f".{place.name}.lock")
        with lock:
            if not is_whole(place):
                aside = place.parent / f".{place.name}.partial"
                aside.mkdir(exist_ok=True)
                build(aside)
                for left in aside.glob(".*.partial"):  # of a writer that was killed
                    left.unlink()
                if place.is_relative_to(cache_folder().resolve()):
                    shutil.rmtree(place, ignore_errors=True)  # something that lost a part of itself
                with suppress(FileNotFoundError):
                    place.rmdir()  # an empty folder the user made
                aside.rename(place)
    except PermissionError as error:
        raise _unwritable(folder, error) from None
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ENOSPC, errno.EROFS, errno.EDQUOT):
            raise _unwritable(folder, error) from None
        raise
    return folder


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write {error.filename or folder}: {error.strerror}",
        remedy="choose another folder with -o, or another cache with the environment variable LLMKIT_CACHE",
    )
