"""What tests share."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"  # recorded outputs of official scripts
DOCS = ROOT / "docs"

Command = Callable[..., tuple[int, str, str]]  # what the fixture `llmkit` gives: arguments → exit code, stdout, stderr


def quick_or_slow(names: Iterable[str], quick: Collection[str]) -> list[Any]:
    """The names as parameters of a test. Those that are not `quick` are slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def documents_of(shards: Any) -> list[list[int]]:
    """The ids of each document of TokenShards."""
    places = zip(shards.file, shards.first, shards.lengths, strict=True)
    return [shards.files[file][first : first + length].tolist() for file, first, length in places]
