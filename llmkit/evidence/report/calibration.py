"""Calibration: is a confidence what it claims, and what is it worth to abstain?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from llmkit.evidence.calibration import Calibration, Scores, Value, calibration
from llmkit.evidence.page import fragment
from llmkit.evidence.page.plots import BLUE, ORANGE, SOFT, STYLES, plot
from llmkit.evidence.report.reported import Reported, Section
from llmkit.tasks.review import Thresholds
from llmkit.tasks.score_tables import interval_text

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

SCORES = {
    "error": "expected calibration error, %",
    "excess": "mean confidence above the share that is right, %",
    "brier": "Brier score, 0 to 1",
    "area": "area under the risk-coverage curve, %",
}
POINTS = 500  # of a curve


def section(reported: Reported) -> Section:
    """The reliability diagram, scores, the risk-coverage curve, temperature, and the curve of thresholds."""
    review = reported.review
    claims = review.claims()
    found = calibration(claims) if claims is not None else None
    thresholds = review.thresholds()
    why = review.unclaimed if claims is None else f"the {claims.rows} have no confidences that differ"
    markup = fragment(
        "report_calibration.html",
        found=found,
        why=why,
        rows=_rows(found.scores) if found else [],
        fitted=_fitted(found),
        charts=_charts(found) if found else [],
        curve=_threshold_chart(thresholds) if thresholds else "",
        thresholds=thresholds,
    )
    return Section("Calibration", "calibration", markup, _said(found) if found else ())


def _rows(scores: Scores) -> list[list[str]]:
    return [[title, *_texts(getattr(scores, name), name)] for name, title in SCORES.items()]


def _fitted(found: Calibration | None) -> list[list[str]]:
    """Rows of scores without and with the temperature. The area is left out: no temperature changes it much."""
    if found is None or found.temperature is None:
        return []
    before, after = found.temperature.before, found.temperature.after
    return [
        [title, *_texts(getattr(before, name), name), *_texts(getattr(after, name), name)]
        for name, title in SCORES.items()
        if name != "area"
    ]


def _texts(value: Value, name: str) -> tuple[str, str]:
    if name == "brier":
        return f"{value.value:.4f}", f"{value.interval[0]:.4f} to {value.interval[1]:.4f}" if value.interval else ""
    return f"{value.value:.2f}", interval_text(value.interval)


def _said(found: Calibration) -> list[str]:
    """That the model is too sure or not sure enough, if that is more than chance."""
    excess = found.scores.excess
    if excess.interval is None or excess.interval[0] <= 0 <= excess.interval[1]:
        return []
    low, high = sorted(abs(end) for end in excess.interval)
    sure, right = (100 * float(np.mean(each)) for each in (found.claims.confidence, found.claims.right))
    how = "too sure" if excess.value > 0 else "not sure enough"
    return [
        f"Confidence: {how}: {sure:.1f} % on average, and {right:.1f} % of the {found.claims.rows} are right, "
        f"{abs(excess.value):.1f} ({low:.1f} to {high:.1f}) apart."
    ]


def _charts(found: Calibration) -> list[Markup]:
    return [
        plot(_reliability(found), "Reliability diagram: the share of right answers by confidence"),
        plot(_risk(found), "Risk-coverage curve: the share of errors among the surest answers"),
    ]


def _reliability(found: Calibration) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        sure, right = np.array([(each.confidence, each.right) for each in found.bins]).T
        ends = np.array([each.interval or [each.right, each.right] for each in found.bins]).T
        axes.plot([0, 100], [0, 100], color=SOFT, linestyle=(0, (1, 1.2)))
        # An interval of a few rows may not hold the share itself.
        spread = np.maximum(0, [right - ends[0], ends[1] - right])
        sizes = np.array([each.rows for each in found.bins])
        axes.errorbar(sure, right, yerr=spread, fmt="none", ecolor=BLUE, elinewidth=1.2)
        axes.scatter(sure, right, s=10 + 90 * sizes / sizes.max(), color=BLUE, linewidths=0)
        axes.set(xlim=(0, 102), ylim=(-2, 104), xlabel="confidence, %")
        axes.set_title("right, %", loc="left")

    return draw


def _risk(found: Calibration) -> Callable[[Axes], None]:
    some = np.unique(np.linspace(0, len(found.coverage) - 1, POINTS).astype(int))

    def draw(axes: Axes) -> None:
        axes.axhline(found.area_at_random, color=SOFT, linestyle=(0, (1, 1.2)))
        axes.plot(found.coverage[some], found.risk[some], color=BLUE)
        axes.set(xlim=(0, 102), xlabel="coverage: the surest answers, %")
        axes.set_ylim(bottom=0)
        axes.set_title("wrong among them, %", loc="left")

    return draw


def _threshold_chart(found: Thresholds) -> Markup:
    def draw(axes: Axes) -> None:
        for style, (name, values) in zip(STYLES, found.scores.items(), strict=False):
            axes.plot(found.at, values, **style, label=name.replace("_", " "))
        axes.axvline(found.used, color=SOFT, linewidth=1)
        axes.text(found.used, 0.02, " used", transform=axes.get_xaxis_transform(), color=SOFT)
        if found.tuned is not None:
            axes.axvline(found.tuned, color=ORANGE, linewidth=1, linestyle=(0, (4, 1.5)))
            axes.text(found.tuned, 0.12, " tuned", transform=axes.get_xaxis_transform(), color=ORANGE)
        axes.set_xlabel("threshold of the null score")
        axes.set_title("score, %", loc="left")
        axes.legend()

    return plot(draw, "Scores by the threshold above which the model abstains")
