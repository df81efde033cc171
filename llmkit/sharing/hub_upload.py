"""Write access to the Hugging Face Hub: login, timeouts, and error messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmkit.system.errors import UserError
from llmkit.system.hub import TIMEOUT, endpoint

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

STALLED = 300.0  # seconds without a response before an upload fails: a commit may take the Hub minutes


@contextmanager
def writing_to_the_hub(name: str) -> Iterator[tuple[HfApi, ModelInfo | None]]:
    """Yield the Hub API and the current state of the model repository `name`, or None if it does not exist.

    Raises UserError for problems with the network or the Hub. Messages never contain the token or a storage URL:
    storage URLs are signed, so they grant access.
    """
    from huggingface_hub import HfApi, constants, errors, get_session, get_token, logging, set_client_factory
    from huggingface_hub.utils import disable_progress_bars, httpx  # type: ignore[attr-defined]  # its own alias

    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be uploaded", remedy="unset it")
    if get_token() is None:
        raise UserError(
            "not logged in to the Hub",
            remedy="log in with `hf auth login`, or set HF_TOKEN to a token with write access",
        )
    # By default the library waits forever for a response, and logs URLs when it retries.
    hooks = get_session().event_hooks
    timeout = httpx.Timeout(TIMEOUT, read=STALLED, write=STALLED)
    set_client_factory(lambda: httpx.Client(event_hooks=hooks, follow_redirects=True, timeout=timeout))
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not sys.stderr.isatty():
        disable_progress_bars()
    api = HfApi()
    try:
        try:
            existing = api.model_info(name, timeout=TIMEOUT)
        except errors.RepositoryNotFoundError:
            existing = None
        yield api, existing
    except UserError:
        raise
    except Exception as error:  # hides nothing: other errors are raised again
        explained = _explain_refusal(error, name) or _explain_lost_connection(error, name)
        if explained is None:
            raise
        raise explained from error


def _retry(name: str) -> str:
    return f"run it again: files that arrived are not sent twice, and {name} changes only once all have arrived"


def _explain_refusal(error: Exception, name: str) -> UserError | None:
    """Explain an error response of the Hub. None if the error is not a response."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, ValueError) and str(error).startswith("Invalid metadata"):
        return UserError(
            f"the Hub does not accept the metadata of the model card: {' '.join(str(error).split())}",
            remedy="correct the run's model/README.md, or delete it so that it is written again",
        )
    if not isinstance(error, HfHubHTTPError):
        return None
    status = error.response.status_code
    message = " ".join((error.server_message or "no further details").split())
    if status == 401:
        return UserError(
            "the Hub does not accept your token",
            remedy="log in again with `hf auth login`; if HF_TOKEN is set, it takes precedence: correct or unset it",
        )
    if status == 403:
        return UserError(
            f"this token has no write access to {name}: {message}",
            remedy="choose a namespace of your own, or log in with a token that has access: `hf auth login`",
        )
    if status in (408, 429) or status >= 500:
        return UserError(
            f"the Hub at {endpoint()} cannot accept {name} right now: {status}, {message}", remedy=_retry(name)
        )
    return UserError(
        f"the Hub at {endpoint()} refused {name}: {status}, {message}",
        remedy=f"fix what the message names; {endpoint()}/{name} may show more",
    )


def _explain_lost_connection(error: Exception, name: str) -> UserError | None:
    """Explain a connection that failed. None if the error has another cause."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # its own alias

    # File uploads wrap their errors in a RuntimeError. The storage client, hf_xet, is native code and raises no others.
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    kind = type(cause).__name__
    if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout):
        return UserError(
            f"the Hub at {endpoint()} cannot be reached ({kind})", remedy=f"check the network, then {_retry(name)}"
        )
    if isinstance(cause, httpx.TimeoutException):
        return UserError(f"the Hub at {endpoint()} does not respond ({kind})", remedy=_retry(name))
    if isinstance(cause, httpx.HTTPError | RuntimeError | ConnectionError):
        return UserError(f"the connection to the Hub at {endpoint()} broke ({kind})", remedy=_retry(name))
    return None
