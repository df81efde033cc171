"""The points of a chart of curves, for an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llmkit.tasks.values import Array


@dataclass(frozen=True)
class Line:
    """A line of a chart. `colour` is a variable of the style; `dashes` tell it apart without colour."""

    name: str
    points: str
    colour: str
    dashes: str


class Chart:
    """Curves of 0, 1, 2 … words, each [words + 1], and a band, [2, words + 1].

    rows     (label, y) of the scale's lines
    columns  (label, x)
    """

    WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 680, 300, 56, 664, 12, 250
    STYLES = (("blue", ""), ("orange", "9 4"), ("soft", "2 4"))

    def __init__(self, curves: Mapping[str, Array], band: Array | None = None) -> None:
        every = np.concatenate([*curves.values(), *(band if band is not None else [])])
        ticks = _ticks(float(every.min()), float(every.max()))
        self._low, self._high = min(ticks[0], float(every.min())), max(ticks[-1], float(every.max()))
        self._last = len(next(iter(curves.values()))) - 1
        self.rows = [(f"{tick:g}", self._y(tick)) for tick in ticks]
        self.columns = [(str(number), self._x(number)) for number in range(self._last + 1)]
        self.lines = [
            Line(name, self._points(curve), *style)
            for (name, curve), style in zip(curves.items(), self.STYLES, strict=False)
        ]
        self.band = "" if band is None else f"{self._points(band[0])} {self._points(band[1], backwards=True)}"

    def _x(self, number: float) -> float:
        return round(self.LEFT + (self.RIGHT - self.LEFT) * number / max(1, self._last), 1)

    def _y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low or 1.0)
        return round(self.BOTTOM - (self.BOTTOM - self.TOP) * share, 1)

    def _points(self, curve: Array, *, backwards: bool = False) -> str:
        points = [f"{self._x(number)},{self._y(float(value))}" for number, value in enumerate(curve)]
        return " ".join(points[::-1] if backwards else points)


def _ticks(low: float, high: float) -> Sequence[float]:
    """About five round numbers from `low` to `high`."""
    size = (high - low) / 5 or 1.0
    power = 10.0 ** np.floor(np.log10(size))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= size)
    return [
        round(float(step * number), 10) for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
    ]
