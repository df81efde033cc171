"""The Hugging Face Hub: one quick check per repository, an offline fallback, and errors that say what to do.

On their own, the libraries retry for half a minute if the Hub refuses connections, and hang if it does not respond. So
each repository is looked up once, with a timeout. If the Hub cannot be reached, or is too busy to answer, the libraries
use their cache only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llmkit.system.cache import cache_folder
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import write_whole
from llmkit.system.hub_downloads import showing_downloads

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

Kind = Literal["dataset", "model"]

TIMEOUT = 10.0  # seconds to wait for the Hub's first response
_STATUS = "https://status.huggingface.co"
_trouble: tuple[str, str] | None = None  # what is wrong with the Hub, and the remedy, since the last lookup failed
_commits: dict[Kind, dict[str, str | None]] = {"dataset": {}, "model": {}}


def endpoint() -> str:
    """The URL of the Hub: $HF_ENDPOINT or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def commits() -> dict[Kind, dict[str, str | None]]:
    """The repositories that this process has looked up so far, with their commits; None for an unknown commit."""
    return {kind: dict(found) for kind, found in _commits.items()}


@cache
def commit_of(kind: Kind, name: str, revision: str | None = None) -> str | None:
    """Look up the commit of a repository's revision, which identifies its content.

    If the Hub cannot be reached or is too busy, returns the commit of the last lookup, or None, and switches the
    libraries to offline mode. Raises UserError if the repository or revision does not exist.
    """
    commit = _commit_of(kind, name, revision)
    _commits[kind][name] = commit
    return commit


def _commit_of(kind: Kind, name: str, revision: str | None) -> str | None:
    from huggingface_hub import HfApi, constants, errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # re-exported there

    last_known = cache_folder() / "commits" / "--".join([kind, name, revision or "main"]).replace("/", "--")
    if constants.HF_HUB_OFFLINE:
        return _read_if_exists(last_known)
    try:
        commit = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=TIMEOUT).sha
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise _user_error(error, name) or error from None
    except errors.HFValidationError:
        raise UserError(
            f"{name} is neither an existing path nor the id of a repository on the Hub", remedy="check the name"
        ) from None
    except (httpx.TransportError, errors.OfflineModeIsEnabled) as error:
        return _without_the_hub(last_known, f"cannot be reached ({type(error).__name__})")
    except errors.HfHubHTTPError as error:
        if remedy := _busy(error):
            return _without_the_hub(last_known, f"answers with status {error.response.status_code}", remedy)
        raise _user_error(error, name) or error from None
    if commit is not None:
        last_known.parent.mkdir(parents=True, exist_ok=True)
        write_whole(last_known, commit)
    return commit


def _without_the_hub(last_known: Path, what: str, remedy: str | None = None) -> str | None:
    """Switch the libraries to offline mode; returns the commit of the last lookup."""
    from huggingface_hub import constants

    global _trouble
    warn(f"the Hub at {endpoint()} {what}; using earlier downloads")
    constants.HF_HUB_OFFLINE = True
    _trouble = (what, remedy) if remedy is not None else None
    return _read_if_exists(last_known)


def _busy(error: HfHubHTTPError) -> str | None:
    """What to do about a response that another attempt may get around; None if no attempt will."""
    status = error.response.status_code
    if status == 429:
        return "wait some minutes; with a login (`hf auth login`) the Hub allows more requests"
    if status == 408 or status >= 500:
        return f"run it again in some minutes; {_STATUS} says whether the Hub has problems"
    return None


def _read_if_exists(file: Path) -> str | None:
    return file.read_text() if file.is_file() else None


@contextmanager
def reading_from_the_hub(kind: Kind, name: str, revision: str | None = None) -> Iterator[None]:
    """A context in which libraries load `name`, a local path or a repository. Looks up a repository first.

    Converts errors about the Hub, raised inside, to UserError. Re-raises all others.
    """
    if not Path(name).exists():
        commit_of(kind, name, revision)
    try:
        with nullcontext() if Path(name).exists() else showing_downloads():
            yield
    except UserError:
        raise
    except Exception as error:  # hides nothing: errors that are not the Hub's are raised again
        user_error = None if Path(name).exists() else _user_error(error, name)
        if user_error is None:
            raise
        raise user_error from error


def file_of(name: str, file: str) -> Path | None:
    """The path of a file in a model's folder, or of the downloaded file of its repository; None if it does not exist.

    If the Hub cannot be reached and the file was never looked up before, prints a warning and returns None. Raises
    UserError if the Hub fails.
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
            # None means that the file was never looked up. If it was, and did not exist, the cache returns a marker.
            if try_to_load_from_cache(name, "config.json") and try_to_load_from_cache(name, file) is None:
                warn(f"cannot check without the Hub whether {name} has a {file}; assuming that it has none")
            return None
        except EntryNotFoundError:
            return None


def unreachable(name: str) -> UserError:
    """The error for a repository that is not in the cache while the Hub cannot be reached."""
    network = "check the network, or give local files; HF_ENDPOINT names a mirror"
    what, remedy = _trouble or ("cannot be reached", network)
    return UserError(
        f"the Hub at {endpoint()} {what}, and {name} was not downloaded before; nor is it a path here", remedy=remedy
    )


def _user_error(error: BaseException, name: str) -> UserError | None:
    """The UserError for an error of the Hub's libraries; None for any other error."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # re-exported there

    def is_a(*kinds: type[BaseException]) -> bool:
        # transformers wraps the Hub's errors in OSError, and datasets wraps them in DatasetNotFoundError.
        return isinstance(error, kinds) or isinstance(error.__cause__, kinds)

    text = str(error)
    if is_a(errors.GatedRepoError) or re.search("access a gated repo|is a gated dataset", text):
        return UserError(
            f"{name} is gated: its owner asks you to accept terms",
            remedy=f"accept them at {endpoint()}/{name}, then log in with `hf auth login`",
        )
    response = next((cause for cause in _causes(error) if isinstance(cause, errors.HfHubHTTPError)), None)
    status = response.response.status_code if response is not None else None
    if response is not None and (remedy := _busy(response)):
        return UserError(f"the Hub at {endpoint()} answered with status {status} for {name}", remedy=remedy)
    if response is not None and status in (401, 403) and not isinstance(response, errors.RepositoryNotFoundError):
        return UserError(
            f"the Hub does not let you read {name} with this token ({status})",
            remedy="log in again with `hf auth login`; if HF_TOKEN is set, it takes precedence: correct or unset it",
        )
    if is_a(errors.RevisionNotFoundError):
        return UserError(f"{name} has no such revision on the Hub", remedy="omit the revision, or name another")
    if constants.HF_HUB_OFFLINE and isinstance(error, OSError):
        return unreachable(name)
    if is_a(errors.RepositoryNotFoundError, DatasetNotFoundError):
        return UserError(
            f"{name} does not exist: no such path, and no such repository on the Hub (or a private one)",
            remedy="check the name, or log in with `hf auth login`",
        )
    if "scripts are no longer supported" in text:
        return UserError(
            f"{name} is a dataset with a loading script, which datasets no longer runs",
            remedy="use its Parquet conversion: revision=refs/convert/parquet",
        )
    if any(isinstance(cause, ConnectionError | httpx.TransportError) for cause in _causes(error)):
        return UserError(
            f"lost the connection to the Hub while reading {name}: {text or type(error).__name__}",
            remedy="run it again: what has arrived is not downloaded twice",
        )
    if isinstance(error, DatasetsError):  # a repository without files that datasets can read
        return UserError(f"{name}: {text.splitlines()[0]}", remedy="choose a repository with Parquet or JSON files")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and the errors that it was raised from, the latest first. datasets hides some of them (`from None`)."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
