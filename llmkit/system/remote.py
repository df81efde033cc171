"""Files elsewhere, by URL: `https://…`, `s3://…`, `gs://…`, `hf://…` and whatever else fsspec knows.

They are copied into the cache, and read there. So each is transferred once, whatever comes after it, and all that is
true of files on this disk is true of them: their content identifies them, and a command that was killed goes on.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from llmkit.system.cache import built_once, cached_folder, file_fingerprint, writing
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.progress import Progress, Rate

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
# Errors of writing here. Permissions are not among them: a bucket refuses with the same number.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_WEB = ("http", "https")  # where a folder is a page, and `*` or `?` belong to the address
# What file systems say of a version of a file. Each has some of these, in its own spelling.
_VERSION = (
    *("ETag", "etag", "Content-MD5", "content_md5", "md5Hash", "crc32c", "Digest", "blob_id", "xet_hash", "sha"),
    *("generation", "Last-Modified", "LastModified", "last_modified", "modificationTime", "modify", "mtime", "created"),
)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a file system. `about` is what changes when it is written anew; empty if the file system tells none."""

    path: str
    size: int
    about: Mapping[str, str]

    @property
    def name(self) -> str:
        """Its name without folders, and without what follows the name in an address."""
        return PurePosixPath(self.path.partition("?")[0]).name


def is_url(path: str) -> bool:
    """Whether a path is a URL."""
    return _URL.match(path) is not None


def found_at(url: str) -> list[RemoteFile]:
    """The file at a URL, the files of a folder and its subfolders without hidden ones, or those of a glob; sorted.

    Raises UserError if there is none, or if its file system cannot be used.
    """
    with _reaching(url):
        system, path = _system(url)
        if _protocol(url) in _WEB:
            found = {path: system.info(path)}
        elif any(character in path for character in "*?["):
            found = system.glob(path, detail=True)
        else:
            found = system.find(path, detail=True) if system.isdir(path) else {path: system.info(path)}
    files = [
        RemoteFile(name, info.get("size") or 0, {key: str(info[key]) for key in _VERSION if info.get(key) is not None})
        for name, info in sorted(found.items())
        if info["type"] == "file" and not any(part.startswith(".") for part in name.split("/"))
    ]
    if not files:
        raise UserError(f"{url}: no files there", remedy="check the path")
    return files


def downloaded(url: str, files: list[RemoteFile]) -> list[Path]:
    """Copy files of `found_at` into the cache, unless they are there. Returns their paths. Raises UserError.

    What may have been written anew unseen is copied each time.
    """
    system, _ = _system(url)
    with _Downloading(files) as downloading:
        return [_copied(system, file, url, downloading) for file in files]


class _Downloading(Progress):
    """The progress of copying files, of which some may be there."""

    def __init__(self, files: list[RemoteFile]) -> None:
        super().__init__("downloading")
        self._files, self._rate = files, Rate()
        self._total = max(sum(file.size for file in files), 1)

    def file(self, file: RemoteFile) -> Callable[..., None]:
        """Begin with a file. Returns the function to call with the bytes of it that have arrived."""
        number = self._files.index(file)
        before, arrived = sum(earlier.size for earlier in self._files[:number]), 0
        self._rate.skip()

        def show(size: int | None, value: int, **_: Any) -> None:
            nonlocal arrived
            self._rate.add(value - arrived)
            arrived = value
            parts = {
                file.name: f"{value / 1e6:,.1f} of {file.size / 1e6:,.1f} MB",
                f"{number + 1:,} of {len(self._files):,} files": "",
                "": f"{self._rate.per_second / 1e6:,.1f} MB/s",
            }
            self(parts, min((before + value) / self._total, 1.0))

        return show


def _copied(system: AbstractFileSystem, file: RemoteFile, url: str, downloading: _Downloading) -> Path:
    from fsspec.callbacks import Callback

    def build(partial: Path) -> None:
        # The file has another name until it is whole: the partial folder may be that of a killed process.
        with _reaching(url):
            callback = Callback(hooks={"show": downloading.file(file)})
            system.get_file(file.path, str(partial / ".part"), callback=callback)
        (partial / ".part").rename(partial / file.name)

    def is_whole(folder: Path) -> bool:
        return (folder / file.name).is_file()

    place = {"path": f"{_protocol(url)}://{file.path}", "size": str(file.size)}
    if file.about:
        folder = built_once(cached_folder("downloads", {**place, **file.about}), build, is_whole=is_whole)
        return folder / file.name
    say(f"{file.name}: nothing tells whether it has changed, so it is downloaded each time")
    arriving = cached_folder("downloads", {"path": place["path"], "content": None})
    with writing(arriving):
        arriving.mkdir(parents=True, exist_ok=True)
        with FileLock(arriving / ".lock"):
            build(arriving)
            arrived = arriving / file.name
            folder = cached_folder("downloads", {**place, "content": file_fingerprint(arrived)})
            built_once(folder, lambda partial: _move(arrived, partial), is_whole=is_whole)
            arrived.unlink(missing_ok=True)
    return folder / file.name


def _move(file: Path, folder: Path) -> None:
    file.rename(folder / file.name)


def _protocol(url: str) -> str:
    return url.partition("://")[0].lower()


def _system(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL, and the path in it. Raises UserError if it needs a package that is not installed."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as error:
        package = next(iter(re.findall(r"s3fs|gcsfs|adlfs|\w+fs\b", str(error))), "the package that it names")
        raise UserError(f"{url}: {error}", remedy=f"pip install {package}") from None
    except ValueError as error:
        raise UserError(f"{url}: {error}", remedy="give a URL such as https://, s3://, gs:// or hf://") from None


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Errors of a file system as UserError, but those of writing here. Only calls of a file system belong inside: each
    raises errors of its own library, so this takes all of them."""
    try:
        yield
    except Exception as error:  # hides nothing: the error is the cause of the UserError, and its text is in it
        if isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in _FULL):
            raise
        # To fsspec, what a web server cannot be asked for is not found either. The cause tells.
        cause = error.__cause__ or error
        if isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == HTTPStatus.NOT_FOUND:
            raise UserError(f"{url}: no such file or folder", remedy="check the path") from None
        what = str(cause) or type(cause).__name__
        raise UserError(
            f"{url} cannot be read: {what}", remedy="check the connection and your access; the same command goes on"
        ) from error
