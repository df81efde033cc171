"""The base of our `evaluate` metrics: they write no file, so they need no cache folder and no lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import evaluate

from llmkit.system.errors import UserError


class InMemoryMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """An `evaluate.Metric` that keeps what it is given in memory.

    By default a metric makes a folder below the Hugging Face home when it is constructed, and an Arrow file
    and a lock there when it computes. That fails where the home is read-only and makes processes wait for
    each other.
    """

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _build_data_dir(self) -> str:
        # The base class makes the folder even when keep_in_memory=True leaves it unused. The path only has to
        # be a string here: nothing is read from it or written to it.
        return ""


def check_unique_ids(ids: Iterable[str], what: str) -> None:
    """Raise UserError if two of the `what` ("predictions", "references") share an id."""
    repeated = [id_ for id_, times in Counter(ids).items() if times > 1]
    if repeated:
        raise UserError(
            f"{len(repeated)} ids occur more than once in the {what}, the first is {repeated[0]!r}",
            remedy="give every question one id and one entry",
        )
