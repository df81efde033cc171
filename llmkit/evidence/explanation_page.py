"""Explanations as pages: what the templates are filled with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.evidence.checked import Checked
from llmkit.evidence.explanation import METHODS, Explanation
from llmkit.evidence.page import write_page
from llmkit.evidence.page.plots import SOFT, STYLES, key, plot
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 30  # words in the table
LINES = (*STYLES[:2], {"color": SOFT, "linestyle": (0, (1, 1.2))})  # of both methods, and of random orders
LITTLE = 0.05  # of the strongest weight, below which a word is not shaded


@dataclass(frozen=True)
class Part:
    """A part of a text: a unit `for`, `against` or of `little` weight, from 0 to 1. What is between has no kind."""

    text: str
    kind: str = ""
    strength: float = 0.0
    title: str = ""
    own: bool = False


def write_explanation(found: Explanation, output: Path, model: str) -> None:
    """Write a page about one prediction. Raises UserError."""
    deletion = found.deletion
    low, high = deletion.random_interval
    areas = [(f"by {METHODS[name]}", f"{deletion.area(name):.2f}") for name in deletion.curves]
    areas.append(("random", f"{deletion.random_areas.mean():.2f} ({low:.2f} to {high:.2f})"))
    names = [name for name, _ in found.explained.texts]
    write_page(
        output,
        "explanation.html",
        found=found,
        model=model,
        answer=found.explained.answer,
        views=[
            (METHODS[method], [(name, list(_parts(found, number, method))) for number, name in enumerate(names)])
            for method in found.weights
        ],
        rows=sorted(found.as_row()["words"], key=lambda row: -abs(row["integrated_gradients"]))[:SHOWN],
        chart=_chart(
            {f"by {METHODS[name]}": curve for name, curve in deletion.curves.items()}
            | {"random orders, mean": deletion.random.mean(axis=0)},
            "The explained number by words masked",
            np.quantile(deletion.random, (0.025, 0.975), axis=0),
        ),
        areas=areas,
    )


def write_check(found: Checked, output: Path, model: str) -> None:
    """Write a page about the check of many examples. Raises UserError."""
    rows = [
        {
            "name": f"by {METHODS[name]}",
            "area": f"{area.value:.2f}{_interval(area.interval)}",
            "above": f"{area.above:+.2f}{_interval(area.above_interval)}",
            "verdict": "more than random words" if area.beats_random else "not told apart from random words",
        }
        for name, area in found.areas.items()
    ]
    rows.append({"name": "random", "area": f"{found.random_area:.2f}", "above": "", "verdict": ""})
    curves = {f"by {METHODS[name]}" if name in METHODS else "random": curve for name, curve in found.curves.items()}
    write_page(
        output,
        "check.html",
        found=found,
        model=model,
        rows=rows,
        chart=_chart(curves, "Change of the explained number by words masked"),
    )


def _chart(curves: Mapping[str, Array], alt: str, band: Array | None = None) -> dict[str, Any]:
    """Curves of 0, 1, 2 … words masked, each [words + 1], over a band, [2, words + 1]; and the legend."""
    from matplotlib.ticker import MaxNLocator

    def draw(axes: Axes) -> None:
        if band is not None:
            axes.fill_between(range(len(band[0])), *band, color=SOFT, alpha=0.22, linewidth=0)
        for curve, style in zip(curves.values(), LINES, strict=True):
            axes.plot(curve, **style)
        axes.set_xlabel("words masked")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return {"svg": plot(draw, alt), "legend": [(key(style), name) for name, style in zip(curves, LINES, strict=True)]}


def _parts(found: Explanation, text: int, method: str) -> Iterator[Part]:
    """A text in parts. What the model did not read is cut."""
    content, weights = found.explained.texts[text][1], found.weights[method]
    strongest = float(np.abs(weights).max()) or 1.0
    numbers = [number for number, unit in enumerate(found.units) if unit.text == text]
    end = found.units[numbers[0]].start if numbers else 0
    if content[:end].strip():
        yield Part("… ")
    for number in numbers:
        unit, weight = found.units[number], float(weights[number])
        yield Part(content[end : unit.start])
        strength = abs(weight) / strongest
        kind = "little" if strength < LITTLE else "for" if weight > 0 else "against"
        yield Part(content[unit.start : unit.end], kind, strength, f"{weight:+.3f}", unit.own)
        end = unit.end
    yield Part(" …" if content[end:].strip() else "")


def _interval(ends: list[float] | None) -> str:
    return f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends is not None else ""
