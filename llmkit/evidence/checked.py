"""The deletion check over many examples: do the words that a method ranks first matter more than others?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmkit.evidence.explanation import METHODS, Explanation
from llmkit.tasks.bootstrap import interval
from llmkit.tasks.measures import mean_of
from llmkit.tasks.values import Array

ORDERS = 10  # random ones of each example


@dataclass(frozen=True)
class Area:
    """The mean area of a method over the examples, and by how much it is above that of random orders. Each has a 95 %
    interval over examples; None if there is only one group of them."""

    value: float
    interval: list[float] | None
    above: float
    above_interval: list[float] | None

    @property
    def beats_random(self) -> bool:
        """Whether the interval of the difference is above 0."""
        return self.above_interval is not None and self.above_interval[0] > 0


@dataclass(frozen=True)
class Checked:
    """The deletion of each example, in their order. Examples with the same last text (a passage) are one group."""

    ids: tuple[str, ...]
    explanations: tuple[Explanation, ...]

    @property
    def areas(self) -> dict[str, Area]:
        """The areas of each method."""
        return {name: self._area(name) for name in METHODS}

    def _area(self, name: str) -> Area:
        groups = [each.explained.texts[-1][1] for each in self.explanations]
        own = np.array([each.deletion.area(name) for each in self.explanations])
        above = own - np.array([each.deletion.random_areas.mean() for each in self.explanations])
        first, second = (mean_of(values).times(0.01) for values in (own, above))  # not percent
        return Area(float(own.mean()), interval(first, groups), float(above.mean()), interval(second, groups))

    @property
    def random_area(self) -> float:
        """The mean area of random orders."""
        return float(np.mean([each.deletion.random_areas.mean() for each in self.explanations]))

    @property
    def correlation(self) -> float:
        """The mean of the examples' rank correlations of both methods."""
        return float(np.mean([each.correlation for each in self.explanations]))

    @property
    def curves(self) -> dict[str, Array]:
        """The mean curve of each method and of `random` orders: by how much the number has changed, [1 + WORDS]."""
        found = {name: [each.deletion.curves[name] for each in self.explanations] for name in METHODS}
        found["random"] = [each.deletion.random.mean(axis=0) for each in self.explanations]
        return {name: _changes(curves) for name, curves in found.items()}

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        areas = {
            name: {
                "area": area.value,
                "area_interval": area.interval,
                "above_random": area.above,
                "above_random_interval": area.above_interval,
            }
            for name, area in self.areas.items()
        }
        return {
            "examples": len(self.ids),
            **areas,
            "random": {"orders": ORDERS, "area": self.random_area},
            "rank_correlation": self.correlation,
            "curves": {name: curve.tolist() for name, curve in self.curves.items()},
            "each": [
                {
                    "id": example_id,
                    "answer": each.explained.answer,
                    "completeness_error": each.gradients.error,
                    **{name: each.deletion.area(name) for name in METHODS},
                    "random": float(each.deletion.random_areas.mean()),
                }
                for example_id, each in zip(self.ids, self.explanations, strict=True)
            ],
        }


def _changes(curves: Sequence[Array]) -> Array:
    changes: Array = np.mean([curve - curve[0] for curve in curves], axis=0)
    return changes
