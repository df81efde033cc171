"""Which rows of the log a tracker has for good, so that a resumed run sends what it lacks and nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]  # of log.jsonl


class Sent:
    """The rows that were sent and stay, as far as `known` from before.

    Rows of training and of evaluations come in the order of the log, so the last one is enough, also if the run repeats
    it. Others, as of the batch that a run was resumed with, are known by their steps.
    """

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._last: list[int] = known.get("sent", [-1, 0])
        self._others: list[int] = list(known.get("others", []))
        self._before = list(self._others)  # those of the others that the log will bring again

    def cut(self, step: int) -> None:
        """What comes after a step has been taken back."""
        self._last = min(self._last, [step, 1])
        self._others = [other for other in self._others if other <= step]
        self._before = list(self._others)

    def has(self, row: Row) -> bool:
        """Whether a row is there. The log may have equal ones, so one of the others counts once."""
        place = _place(row)
        if place is not None:
            return place <= self._last
        there = row["step"] in self._before
        if there:
            self._before.remove(row["step"])
        return there

    def add(self, row: Row) -> None:
        """A row has been sent."""
        place = _place(row)
        if place is None:
            self._others.append(row["step"])
        else:
            self._last = place

    def kept(self) -> dict[str, Any]:
        """What is `known` in the next process."""
        return {"sent": self._last, "others": self._others}


def _place(row: Row) -> list[int] | None:
    """Where a row comes in the order of the log; None if it is neither of training nor of an evaluation."""
    if "loss" in row:
        return [row["step"], 0]
    if any(name.startswith("eval_") for name in row):
        return [row["step"], 1]
    return None
