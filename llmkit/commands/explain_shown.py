"""An explanation on the terminal: the marked text, the strongest words, and what deletion says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from llmkit.commands.explain import Answer
from llmkit.evidence.checked import Checked
from llmkit.evidence.explanation import METHODS, Explanation
from llmkit.system.console import marked, result, table, warn
from llmkit.tasks.values import Array

SHOWN = 10  # words in the table
BAR = 8  # characters of the longest bar
_LEVELS = "▁▂▃▄▅▆▇█"


def show(answer: Answer) -> None:
    """Print an explanation."""
    found = answer.explanation
    result(f"{found.explained.answer}  ({answer.score:.0%})")
    result(
        f"  explained: {found.explained.what}, {found.value:.2f}; with {found.mask} for every word it is "
        f"{found.masked:.2f}"
    )
    for number, (name, _) in enumerate(found.explained.texts):
        result(f"\n{name}, weighted by integrated gradients:")
        marked(_parts(found, number))
    result("")
    _words(found)
    shared, top = found.shared
    result(
        f"\nThe methods agree with a rank correlation of {found.correlation:.2f} over {len(found.units)} words; "
        f"{shared} of the top {top} words are the same."
    )
    result(f"Completeness error of integrated gradients: {found.gradients.error:.1%} ({found.gradients.steps} steps).")
    if not found.gradients.converged:
        warn("the integrated gradients do not add up to the number: do not rely on them")
    _deletion(found)


def _parts(found: Explanation, text: int) -> Iterator[tuple[str, float]]:
    """A text in parts with their weights, by integrated gradients, from -1 to 1. What the model did not read is cut."""
    content = found.explained.texts[text][1]
    strongest = float(np.abs(found.gradients.weights).max()) or 1.0
    its = [
        (unit, weight) for unit, weight in zip(found.units, found.gradients.weights, strict=True) if unit.text == text
    ]
    end = its[0][0].start if its else 0
    yield ("… " if content[:end].strip() else ""), 0.0
    for unit, weight in its:
        yield content[end : unit.start], 0.0
        yield content[unit.start : unit.end], float(weight) / strongest
        end = unit.end
    yield (" …" if content[end:].strip() else ""), 0.0


def _words(found: Explanation) -> None:
    order = np.argsort(-np.abs(found.gradients.weights), kind="stable")[:SHOWN]
    bars = {name: _bars(weights) for name, weights in found.weights.items()}
    rows = []
    for number in order.tolist():
        unit = found.units[number]
        row = [found.text_of(unit), found.explained.texts[unit.text][0], f"{unit.start} to {unit.end}"]
        for name, weights in found.weights.items():
            row += [f"{weights[number]:+.2f}", bars[name][number]]
        rows.append([*row, "the answer itself" if unit.own else ""])
    names = [column for name in METHODS.values() for column in (f">{name}", "")]
    table(["word", "in", "characters", *names, ""], rows)


def _bars(weights: Array) -> list[str]:
    """A bar for each weight, of another kind for those against."""
    longest = float(np.abs(weights).max()) or 1.0
    return [("█" if each > 0 else "░") * round(BAR * abs(float(each)) / longest) for each in weights]


def _deletion(found: Explanation) -> None:
    deletion = found.deletion
    curves = {**deletion.curves, "random": deletion.random.mean(axis=0)}
    lines = _sparklines(list(curves.values()))
    rows = [
        [f"by {METHODS[name]}", line, f"{deletion.area(name):.2f}"]
        for name, line in zip(deletion.curves, lines, strict=False)
    ]
    low, high = deletion.random_interval
    rows.append(
        [
            f"{len(deletion.random)} random orders",
            lines[-1],
            f"{deletion.random_areas.mean():.2f} ({low:.2f} to {high:.2f})",
        ]
    )
    result(
        "\nDeletion: the number after each of the first ten words is masked; the area is how far it falls on average."
    )
    table(["order", "curve", ">area"], rows)
    for name in METHODS:
        if not deletion.area(name) > high:
            result(f"The words ranked first by {METHODS[name]} move the number no more than random ones may.")


def _sparklines(curves: Sequence[Array]) -> list[str]:
    """A character for each value of each curve, on one scale."""
    low, high = min(float(each.min()) for each in curves), max(float(each.max()) for each in curves)
    scale = (len(_LEVELS) - 1) / (high - low) if high > low else 0.0
    return ["".join(_LEVELS[round((float(value) - low) * scale)] for value in curve) for curve in curves]


def show_check(found: Checked, items: str) -> None:
    """Print the deletion check over many examples."""
    result(
        f"Deletion check: {len(found.ids):,} {items}; of each, the first ten words of an order are masked one by one."
    )
    result("The area is how far the explained number falls on average; in parentheses are 95 % intervals.")
    lines = dict(zip(found.curves, _sparklines(list(found.curves.values())), strict=True))
    rows = [
        [
            f"by {METHODS[name]}",
            lines[name],
            f"{area.value:.2f}{_interval(area.interval)}",
            f"{area.above:+.2f}{_interval(area.above_interval)}",
        ]
        for name, area in found.areas.items()
    ]
    table(
        ["order", "curve", ">area", ">above random"],
        [*rows, ["random", lines["random"], f"{found.random_area:.2f}", ""]],
    )
    for name, area in found.areas.items():
        told = "move the model more than random ones" if area.beats_random else "are not told apart from random ones"
        result(f"The words ranked first by {METHODS[name]} {told}.")
    result(f"The mean rank correlation of both methods is {found.correlation:.2f}.")
    if bad := sum(not each.gradients.converged for each in found.explanations):
        warn(f"{bad:,} of {len(found.ids):,} integrated gradients do not add up to their number")


def _interval(ends: list[float] | None) -> str:
    return f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends is not None else ""
