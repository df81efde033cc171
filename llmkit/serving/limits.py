"""What a server accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
