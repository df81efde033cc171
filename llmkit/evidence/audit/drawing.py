"""Random choices that are the same on every machine: a stream of numbers for each example and each change."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

Draw = Callable[[], float]  # the next random number in [0, 1)


def stream(*names: str) -> Draw:
    """The numbers for these names: of a change and an example. Only Random.random is the same in all Pythons."""
    seed = hashlib.sha256("\0".join(names).encode()).digest()
    return random.Random(int.from_bytes(seed)).random


def one_of(choices: Sequence[T], draw: Draw) -> T:
    """One of the choices, which must not be empty."""
    return choices[int(draw() * len(choices))]
