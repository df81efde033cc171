"""The Hugging Face Hub: what is asked of it, and what to say when it does not answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from llmkit.errors import UserError

TIMEOUT = 10.0  # seconds to wait for the Hub's first answer


def endpoint() -> str:
    """The Hub's address: $HF_ENDPOINT or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


@cache
def dataset_commit(dataset_id: str, revision: str | None) -> str:
    """The commit a data set's revision stands at: what its content is known by. Raises UserError."""
    from huggingface_hub import HfApi

    with reading_from_the_hub(dataset_id):
        info = HfApi().dataset_info(dataset_id, revision=revision, timeout=TIMEOUT)
    return str(info.sha)


@contextmanager
def reading_from_the_hub(name: str) -> Iterator[None]:
    """Turn what goes wrong between here and the Hub into a message that says what to do."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise UserError(
            f"{name} is gated: its owner asks you to accept terms",
            remedy=f"accept them at {endpoint()}/{name}, then log in with `hf auth login`",
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"no such repository on the Hub: {name} (or it is private)",
            remedy="check the name, or log in with `hf auth login`; a local path must exist",
        ) from None
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{name} has no such revision on the Hub: {error}") from None
    except (httpx2.TransportError, errors.OfflineModeIsEnabled, ConnectionError) as error:
        raise unreachable(name, error) from None


def unreachable(name: str, error: BaseException) -> UserError:
    """The message for a Hub that does not answer."""
    return UserError(
        f"the Hub at {endpoint()} cannot be reached for {name} ({type(error).__name__})",
        remedy="check the network, or use local files; HF_ENDPOINT names a mirror",
    )
