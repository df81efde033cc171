"""Do the words that a method ranks first matter to the model? Take them away, and see whether the number falls.

The words of the answer itself stay: without them there is nothing to choose. A method that knows nothing is as good as
a random order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmkit.evidence.probe import Probe
from llmkit.evidence.units import Unit
from llmkit.tasks.values import Array

WORDS = 10  # removed at most, one after the other
ORDERS = 50  # random ones


@dataclass(frozen=True)
class Deletion:
    """The number with the first 0, 1, … WORDS words of an order masked. In shorter texts the last value repeats.

    curves   [1 + WORDS] for each method
    random   [orders, 1 + WORDS]
    """

    curves: Mapping[str, Array]
    random: Array

    def area(self, method: str) -> float:
        """The area above a method's curve: by how much the number is lower, on average over the words removed."""
        return float(_areas(self.curves[method]))

    @property
    def random_areas(self) -> Array:
        """The areas of the random orders, [orders]."""
        return _areas(self.random)

    @property
    def random_interval(self) -> list[float]:
        """Where 95 % of random orders lie."""
        return [float(end) for end in np.quantile(self.random_areas, (0.025, 0.975))]

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        low, high = np.quantile(self.random, (0.025, 0.975), axis=0)
        return {
            "words_removed": list(range(self.random.shape[1])),
            **{name: {"curve": curve.tolist(), "area": self.area(name)} for name, curve in self.curves.items()},
            "random": {
                "orders": len(self.random),
                "curve": self.random.mean(axis=0).tolist(),
                "curve_interval": np.column_stack([low, high]).tolist(),
                "area": float(self.random_areas.mean()),
                "area_interval": self.random_interval,
            },
        }


def deletion(
    probe: Probe, units: Sequence[Unit], weights: Mapping[str, Array], *, orders: int = ORDERS, seed: int = 0
) -> Deletion:
    """Remove words in the order of each method's weights, highest first, and in random orders. The same seed gives the
    same result."""
    removable = np.array([number for number, unit in enumerate(units) if not unit.own], dtype=int)
    generator = np.random.default_rng(seed)
    ranked = {name: removable[np.argsort(-found[removable], kind="stable")] for name, found in weights.items()}
    random = [generator.permutation(removable) for _ in range(orders)]
    inputs = [
        probe.without([token for number in order[:removed] for token in units[number].tokens])
        for order in (*ranked.values(), *random)
        for removed in range(WORDS + 1)
    ]
    curves = probe.values(inputs).reshape(-1, WORDS + 1)
    return Deletion(dict(zip(ranked, curves, strict=False)), curves[len(ranked) :])


def _areas(curves: Array) -> Array:
    areas: Array = curves[..., 0] - curves[..., 1:].mean(axis=-1)
    return areas
