"""A cache of prepared data, addressed by content.

A cache entry is a folder, named by the hash of everything that determines its content. It is built in a partial folder
under a lock, then renamed, so readers never see an incomplete entry. If several processes need the same entry, the
first builds it and the others wait. This is why data is prepared before the process group exists: waiting processes
would time out in a collective.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from llmkit.system.console import say
from llmkit.system.errors import UserError, differences
from llmkit.system.files import is_about_writing


def cache_folder() -> Path:
    """The folder of the cache: $LLMKIT_CACHE, or llmkit in $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("LLMKIT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmkit"


def fingerprint(value: Any) -> str:
    """Hash of a JSON-serializable value; the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def file_fingerprint(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:20]


def cached_folder(kind: str, key: Mapping[str, Any]) -> Path:
    """The path of the cache entry of a kind (`corpora`, `features`) with this key."""
    return cache_folder() / kind / fingerprint(key)


def cached(kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder of a cache entry. If it does not exist, it is built.

    `build(folder)` must write manifest.json last, with the `key` in it: an entry without one is incomplete.
    """

    def explain_and_build(partial: Path) -> None:
        say_what_differs(kind, key)
        build(partial)

    return built_once(cached_folder(kind, key), explain_and_build, is_whole=has_manifest, replace=True)


def has_manifest(folder: Path) -> bool:
    """Whether a folder of prepared data is complete."""
    return (folder / "manifest.json").is_file()


def say_what_differs(kind: str, key: Mapping[str, Any]) -> None:
    """If an existing cache entry of this kind differs from `key` in one value only, print that value."""
    plain = json.loads(json.dumps(key))
    for manifest in (cache_folder() / kind).glob("*/manifest.json"):
        try:
            changes = differences(json.loads(manifest.read_text(encoding="utf-8"))["key"], plain)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged entry
        if len(changes) == 1:
            say(f"cached {kind} do not match: {changes[0]}")
            return


def built_once(
    folder: Path, build: Callable[[Path], None], *, is_whole: Callable[[Path], bool], replace: bool = False
) -> Path:
    """Build `folder` with `build(partial)`, unless it is complete already. Returns `folder`.

    After a kill, `build` gets the same partial folder again and may continue from its content. With `replace`, an
    incomplete `folder` is removed; without it, `folder` must be empty or missing. Raises UserError if the folder cannot
    be written.
    """
    if is_whole(folder):
        return folder
    path = folder.resolve()  # "." has no name
    with writing(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.parent / f".{path.name}.lock")
        with lock:
            if not is_whole(path):
                partial = path.parent / f".{path.name}.partial"
                partial.mkdir(exist_ok=True)
                build(partial)
                for leftover in partial.glob(".*.partial"):  # of a killed writer
                    leftover.unlink()
                if replace and path.exists():
                    shutil.rmtree(path)
                with suppress(FileNotFoundError):
                    path.rmdir()  # the user may have created an empty folder
                partial.rename(path)
    return folder


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Convert errors about a full or read-only disk, raised inside, to UserError. Re-raise all others."""
    try:
        yield
    except Exception as error:  # hides nothing: errors that are not about writing are raised again
        path, reason = folder, str(error)
        if isinstance(error, OSError):
            path, reason = error.filename or folder, error.strerror or reason
        if isinstance(error, UserError) or not (
            is_about_writing(error) or isinstance(error, FileExistsError | NotADirectoryError)
        ):
            raise
        raise UserError(
            f"cannot write {path}: {reason}",
            remedy="free some space, or choose another folder with -o, or another cache with the environment variable "
            "LLMKIT_CACHE, and run the command again",
        ) from None
