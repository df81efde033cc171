"""The curves of runs: losses, learning rate, speed and validation scores by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from llmkit.evidence.page import fragment
from llmkit.evidence.page.plots import STYLES, key, plot
from llmkit.evidence.report.reported import Logged, Section
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 300  # of a curve; more are averaged
TRAINING = {
    "loss": "training loss",
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens per second",
    "grad_norm": "gradient norm",
}
NO_SCORES = ("eval_runtime",)


def section(runs: Sequence[Logged]) -> Section | None:
    """A chart for each thing that was logged, with all runs in it. None if nothing was."""
    names = dict.fromkeys(name for run in runs for row in run.log for name in row)
    scores = {
        name: name.removeprefix("eval_").replace("_", " ") + ", validation"
        for name in names
        if name.startswith("eval_") and name not in NO_SCORES
    }
    titles = {name: title for name, title in TRAINING.items() if name in names} | scores
    charts = [plot(_curves(runs, name, title), f"{title} by step") for name, title in titles.items()]
    if not charts:
        return None
    legend = [(key(style), run.name) for run, style in zip(runs, cycle(STYLES), strict=False)]
    return Section("Curves", "curves", fragment("report_curves.html", charts=charts, legend=legend, points=POINTS))


def curve(run: Logged, name: str) -> tuple[Array, Array]:
    """The steps and values of what was logged under a name, at most POINTS of each: means of neighbours."""
    found = [(row["step"], row[name]) for row in run.log if row.get(name) is not None]
    steps, values = np.array(found, np.float64).reshape(-1, 2).T
    parts = [part for part in np.array_split(np.arange(len(steps)), POINTS) if len(part)]
    return np.array([steps[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _curves(runs: Sequence[Logged], name: str, title: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for run, style in zip(runs, cycle(STYLES), strict=False):
            steps, values = curve(run, name)
            axes.plot(steps, values, **style, marker="o" if len(steps) == 1 else "", markersize=4)
        axes.set_title(title, loc="left")
        axes.set_xlabel("step")
        axes.margins(x=0.02)

    return draw
