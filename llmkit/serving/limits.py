"""What a server accepts, and the one form of its refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

BYTES_PER_CHARACTER = 6  # of JSON, as in \u00e9
OVERHEAD = 65_536  # bytes of a body that are not text
MOST_INPUTS = 256  # of one request


@dataclass(frozen=True)
class Limits:
    """What a server accepts.

    characters  of all texts of a request
    waiting     requests that are not yet answered
    seconds     until a request is answered
    """

    characters: int = 200_000
    waiting: int = 512
    seconds: float = 30.0

    @property
    def body(self) -> int:
        """The largest body, in bytes."""
        return self.characters * BYTES_PER_CHARACTER + OVERHEAD


class Refused(Exception):
    """A request that is not answered. `remedy` says what its sender can do."""

    def __init__(self, status: int, *problems: str, remedy: str, retry_after: int | None = None) -> None:
        super().__init__(status)  # nothing of the request: exceptions may be logged
        self.status, self.problems, self.remedy, self.retry_after = status, problems, remedy, retry_after

    def response(self) -> JSONResponse:
        """The answer to its sender."""
        headers = {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        # Escaped, so that half a surrogate pair that a problem quotes can be sent.
        return _Escaped(
            {"error": {"status": self.status, "problems": list(self.problems), "remedy": self.remedy}},
            status_code=self.status,
            headers=headers,
        )


class _Escaped(JSONResponse):
    def render(self, content: Any) -> bytes:
        import json

        return json.dumps(content).encode()


class ErrorBody(BaseModel):
    """Why a request was refused."""

    status: int
    problems: list[str]
    remedy: str = Field(description="What to do about it.")


class Error(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorBody


def too_long(characters: int, limits: Limits) -> Refused:
    """The refusal of a request with too much text."""
    return Refused(
        413,
        f"{characters:,} characters of text; a request may have {limits.characters:,}",
        remedy="send less text in a request, or start the server with a larger --max-characters",
    )


def characters_of(value: Any) -> int:
    """The characters of text in plain values."""
    return sum(map(len, _texts(value)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _texts(part)
