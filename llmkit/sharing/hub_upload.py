"""Writing to the Hugging Face Hub: as whom, how long to wait, and what to do when it does not take something."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmkit.system.errors import UserError
from llmkit.system.hub import TIMEOUT, endpoint

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

STALLED = 300.0  # seconds of silence after which an upload is given up: the Hub may take minutes over a commit


@contextmanager
def writing_to_the_hub(name: str) -> Iterator[tuple[HfApi, ModelInfo | None]]:
    """What to write to the model repository `name` with, and what is there now: None where there is no such one.

    Raises UserError for what goes wrong between here and the Hub. No message holds the token, or the address of a
    storage that an upload was sent to: such addresses are as good as keys.
    """
    from huggingface_hub import HfApi, constants, errors, get_session, get_token, logging, set_client_factory
    from huggingface_hub.utils import disable_progress_bars, httpx  # type: ignore[attr-defined]  # its own alias

    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, and nothing is published without the Hub", remedy="unset it")
    if get_token() is None:
        raise UserError(
            "nobody is logged in to the Hub here",
            remedy="log in with `hf auth login`, or set HF_TOKEN, to a token that may write",
        )
    # The library alone waits for ever for a Hub that falls silent, and names addresses when it tries again.
    hooks = get_session().event_hooks
    patience = httpx.Timeout(TIMEOUT, read=STALLED, write=STALLED)
    set_client_factory(lambda: httpx.Client(event_hooks=hooks, follow_redirects=True, timeout=patience))
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not sys.stderr.isatty():
        disable_progress_bars()
    api = HfApi()
    try:
        try:
            there = api.model_info(name, timeout=TIMEOUT)
        except errors.RepositoryNotFoundError:
            there = None
        yield api, there
    except UserError:
        raise
    except Exception as error:  # hides nothing: what is not known as the Hub's goes on as it is
        explained = _refused(error, name) or _broken(error, name)
        if explained is None:
            raise
        raise explained from error


def _again(name: str) -> str:
    return f"run it again: what has arrived is not sent twice, and until all has {name} stays as it is"


def _refused(error: Exception, name: str) -> UserError | None:
    """What an answer of the Hub means to a user who wanted to publish; None for what is no answer."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, ValueError) and str(error).startswith("Invalid metadata"):
        return UserError(
            f"the Hub does not accept the head of the model card: {' '.join(str(error).split())}",
            remedy="correct the run's model/README.md, or remove it to have it written again",
        )
    if not isinstance(error, HfHubHTTPError):
        return None
    status, told = error.response.status_code, " ".join((error.server_message or "it says no more").split())
    if status == 401:
        return UserError(
            "the Hub does not accept the token that it was given",
            remedy="log in again with `hf auth login`; where HF_TOKEN is set it goes first: correct or unset it",
        )
    if status == 403:
        return UserError(
            f"this token may not write to {name}: {told}",
            remedy="choose a namespace of your own, or log in with a token that may write there: `hf auth login`",
        )
    if status in (408, 429) or status >= 500:
        return UserError(f"the Hub at {endpoint()} does not take {name} now: {status}, {told}", remedy=_again(name))
    return UserError(
        f"the Hub at {endpoint()} refuses {name}: {status}, {told}",
        remedy=f"change what it names; {endpoint()}/{name} may tell more",
    )


def _broken(error: Exception, name: str) -> UserError | None:
    """What a connection that failed means; None for an error that is not about one."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # its own alias

    # The upload of a file wraps what went wrong into a RuntimeError. The client of the Hub's storage, which is no
    # Python, has no other error.
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    kind = type(cause).__name__
    if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout):
        return UserError(
            f"the Hub at {endpoint()} cannot be reached ({kind})", remedy=f"check the network, then {_again(name)}"
        )
    if isinstance(cause, httpx.TimeoutException):
        return UserError(f"the Hub at {endpoint()} does not answer ({kind})", remedy=_again(name))
    if isinstance(cause, httpx.HTTPError | RuntimeError | ConnectionError):
        return UserError(f"the connection to the Hub at {endpoint()} broke ({kind})", remedy=_again(name))
    return None
