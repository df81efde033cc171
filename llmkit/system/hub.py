"""The Hugging Face Hub: ask it once whether it is there, and say what to do when it is not.

The libraries alone retry for half a minute where the Hub refuses, and hang where it is silent. So each
repository is asked for once, with a timeout; where nothing answers, the libraries are told to use what is in
their cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

from llmkit.system.cache import cache_folder
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import write_whole

Kind = Literal["dataset", "model"]

TIMEOUT = 10.0  # seconds to wait for the Hub's first answer
_commits: dict[Kind, dict[str, str | None]] = {"dataset": {}, "model": {}}


def endpoint() -> str:
    """The Hub's address: $HF_ENDPOINT or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def commits() -> dict[Kind, dict[str, str | None]]:
    """The repositories that this process asked for so far, each with its commit, or None where that is not known."""
    return {kind: dict(found) for kind, found in _commits.items()}


@cache
def commit_of(kind: Kind, name: str, revision: str | None = None) -> str | None:
    """The commit that a repository's revision stands at, by which its content is known.

    Where the Hub does not answer, the commit that it named when it last did, or None; from then on the
    libraries look into their cache alone. Raises UserError for a repository or revision that is not there.
    """
    commit = _commit_of(kind, name, revision)
    _commits[kind][name] = commit
    return commit


def _commit_of(kind: Kind, name: str, revision: str | None) -> str | None:
    from huggingface_hub import HfApi, constants, errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # its own alias

    remembered = cache_folder() / "commits" / "--".join([kind, name, revision or "main"]).replace("/", "--")
    if constants.HF_HUB_OFFLINE:
        return _text_of(remembered)
    try:
        commit = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=TIMEOUT).sha
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise _explained(error, name) or error from None
    except errors.HFValidationError:
        raise UserError(
            f"{name} is neither a path that is there nor the id of a repository on the Hub", remedy="check the name"
        ) from None
    except (httpx.TransportError, errors.OfflineModeIsEnabled) as error:
        warn(f"the Hub at {endpoint()} cannot be reached ({type(error).__name__}); using what was downloaded before")
        constants.HF_HUB_OFFLINE = True
        return _text_of(remembered)
    if commit is not None:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write_whole(remembered, commit)
    return commit


def _text_of(file: Path) -> str | None:
    return file.read_text() if file.is_file() else None


@contextmanager
def reading_from_the_hub(kind: Kind, name: str, revision: str | None = None) -> Iterator[None]:
    """Load `name` inside: a local path as it is; a repository after asking whether it is there.

    Raises UserError for what goes wrong between here and the Hub.
    """
    if not Path(name).exists():
        commit_of(kind, name, revision)
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # hides nothing: what is not known as the Hub's, or chained to it, goes on as it is
        explained = None if Path(name).exists() else _explained(error, name)
        if explained is None:
            raise
        raise explained from error


def file_of(name: str, file: str) -> Path | None:
    """A file of a model's folder, or of its repository on the Hub; None where it has none. Raises UserError.

    Without the Hub, a file of a repository that was never asked for counts as none, and that is said.
    """
    if Path(name).exists():
        found = Path(name) / file
        return found if found.is_file() else None
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with reading_from_the_hub("model", name):
        try:
            return Path(hf_hub_download(name, file))
        except LocalEntryNotFoundError as error:
            if not constants.HF_HUB_OFFLINE:
                raise UserError(f"the Hub did not send {file} of {name}", remedy="run it again") from error
            # That it is not there is known where it was asked for before; the cache then has a note of that, not None.
            if try_to_load_from_cache(name, "config.json") and try_to_load_from_cache(name, file) is None:
                warn(f"whether {name} has a {file} is not known without the Hub; it goes on as if it had none")
            return None
        except EntryNotFoundError:
            return None


def unreachable(name: str) -> UserError:
    """The message for what is on the Hub only, when the Hub does not answer."""
    return UserError(
        f"the Hub at {endpoint()} cannot be reached, and {name} was not downloaded before",
        remedy="check the network, or give local files; HF_ENDPOINT names a mirror",
    )


def _explained(error: BaseException, name: str) -> UserError | None:
    """What an error of the Hub's libraries means to a user; None for any other error."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub import constants, errors

    def is_a(*kinds: type[BaseException]) -> bool:
        # transformers wraps the Hub's errors into OSError, and datasets into DatasetNotFoundError.
        return isinstance(error, kinds) or isinstance(error.__cause__, kinds)

    text = str(error)
    if is_a(errors.GatedRepoError) or re.search("access a gated repo|is a gated dataset", text):
        return UserError(
            f"{name} is gated: its owner asks you to accept terms",
            remedy=f"accept them at {endpoint()}/{name}, then log in with `hf auth login`",
        )
    if is_a(errors.RevisionNotFoundError):
        return UserError(f"{name} has no such revision on the Hub", remedy="leave the revision out, or name another")
    if constants.HF_HUB_OFFLINE and isinstance(error, OSError):
        return unreachable(name)
    if is_a(errors.RepositoryNotFoundError, DatasetNotFoundError):
        return UserError(
            f"{name} is not there: no such path, and no such repository on the Hub (or a private one)",
            remedy="check the name, or log in with `hf auth login`",
        )
    if "scripts are no longer supported" in text:
        return UserError(
            f"{name} is a data set with a loading script, which datasets no longer runs",
            remedy="use its parquet conversion: revision=refs/convert/parquet",
        )
    if isinstance(error, ConnectionError):
        return UserError(f"the connection to the Hub broke while reading {name}: {text}", remedy="run it again")
    if isinstance(error, DatasetsError):  # a repository without files that datasets reads
        return UserError(f"{name}: {text.splitlines()[0]}", remedy="choose a repository with parquet or JSON files")
    return None
