"""Work that is done once and found again by its content.

A piece of work is a folder named by the hash of everything that decides what is in it. It is built aside,
under a lock, and renamed into place, so a reader sees a whole one or none; of several processes that want
the same one, the first builds it and the others wait. (This is why data is prepared before a process group
exists: nobody can time out.)
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


def cached_folder(kind: str, key: Mapping[str, Any]) -> Path:
    """Where the cache keeps work of a kind (`corpora`, `features`) that `key` decides."""
    return cache_folder() / kind / fingerprint(key)


def cached(kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder of work in the cache, built unless it is there.

    `build` ends with a manifest.json that holds the `key`: where there is none, the folder is not whole.
    """

    def build_aloud(aside: Path) -> None:
        say_what_differs(kind, key)
        build(aside)

    return built_once(cached_folder(kind, key), build_aloud, is_whole=has_manifest, replace=True)


def has_manifest(folder: Path) -> bool:
    """Whether a folder of prepared data is whole."""
    return (folder / "manifest.json").is_file()


def say_what_differs(kind: str, key: Mapping[str, Any]) -> None:
    """Say which one thing changed, where that is why no work of a kind is found for `key`."""
    plain = json.loads(json.dumps(key))
    for manifest in (cache_folder() / kind).glob("*/manifest.json"):
        try:
            told = differences(json.loads(manifest.read_text(encoding="utf-8"))["key"], plain)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: it explains nothing
        if len(told) == 1:
            say(f"{kind} made before do not fit: {told[0]}")
            return


def built_once(
    folder: Path, build: Callable[[Path], None], *, is_whole: Callable[[Path], bool], replace: bool = False
) -> Path:
    """`folder`, built by `build(aside)` unless it is there already.

    `build` gets the same folder aside again after it was killed, so it may go on from what is there. With
    `replace`, something in its place that is not whole is removed. Raises UserError where the place cannot be written.
    """
    if is_whole(folder):
        return folder
    place = folder.resolve()  # which has a name, where `folder` may be "."
    with writing(folder):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.parent / f".{place.name}.lock")
        with lock:
            if not is_whole(place):
                aside = place.parent / f".{place.name}.partial"
                aside.mkdir(exist_ok=True)
                build(aside)
                for left in aside.glob(".*.partial"):  # of a writer that was killed
                    left.unlink()
                if replace and place.exists():
                    shutil.rmtree(place)
                with suppress(FileNotFoundError):
                    place.rmdir()  # an empty folder the user made
                aside.rename(place)
    return folder


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises UserError where what is done inside fails because the folder, or what is near it, cannot be written."""
    try:
        yield
    except Exception as error:  # hides nothing: what is not about writing goes on as it is
        place, why = folder, str(error)
        if isinstance(error, OSError):
            place, why = error.filename or folder, error.strerror or why
        if isinstance(error, UserError) or not (
            is_about_writing(error) or isinstance(error, FileExistsError | NotADirectoryError)
        ):
            raise
        raise UserError(
            f"cannot write {place}: {why}",
            remedy="make room, or choose another folder with -o, or another cache with the environment variable "
            "LLMKIT_CACHE, and run the command again",
        ) from None
