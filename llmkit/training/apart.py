"""Keep items that share a key in different steps: for losses that take the others of a batch for wrong answers."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

LOOKED_AT = 16  # times the size of a step: how many items that waited are looked at for each step


def kept_apart(order: Array, keys: Array, size: int) -> Array:
    """The items in another order, in which no step of `size` items holds two that share one of their keys.

    An item that would be the second waits for the next step; the others stay in their order. `keys` are [items, k], and
    -1 is no key. Items that are left at the end, because too many share a key, come together all the same.
    """
    rows = [set(row) - {-1} for row in keys.tolist()]
    waiting: list[int] = []
    rest = iter(order.tolist())
    found: list[int] = []
    while len(found) < len(order):
        used: set[int] = set()
        step: list[int] = []
        looked, behind = waiting[: LOOKED_AT * size], waiting[LOOKED_AT * size :]
        waiting = []
        for item in looked:
            _take(item, rows[item], used, step, waiting, size)
        waiting += behind
        while len(step) < size and (new := next(rest, None)) is not None:
            _take(new, rows[new], used, step, waiting, size)
        if len(step) < size:  # nothing but these is left
            step, waiting = step + waiting[: size - len(step)], waiting[size - len(step) :]
        found += step
    return np.array(found, order.dtype)


def _take(item: int, keys: set[int], used: set[int], step: list[int], waiting: list[int], size: int) -> None:
    """Put an item into the step, or let it wait."""
    if len(step) < size and used.isdisjoint(keys):
        used |= keys
        step.append(item)
    else:
        waiting.append(item)
