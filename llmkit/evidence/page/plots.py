"""Plots by matplotlib as SVG inside a page. Colours are the page's own, so they follow its light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 4.8, 2.9  # inches, of 72 units: as wide as the smallest page, so that its text can be read there
# What to draw with. In the SVG, each becomes the variable of the page's style with this name.
INK, SOFT, PAPER, LINE = "#010101", "#010102", "#010103", "#010104"
BLUE, ORANGE, FOR, AGAINST = "#010105", "#010106", "#010107", "#010108"
_VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    PAPER: "paper",
    LINE: "line",
    BLUE: "blue",
    ORANGE: "orange",
    FOR: "for",
    AGAINST: "against",
}
# Styles of several lines, twelve of them: neighbours differ in colour and in dashes, for those who see no colours.
STYLES: tuple[dict[str, Any], ...] = tuple(
    {"color": colour, "linestyle": dashes}
    for colour, dashes in zip(3 * (BLUE, ORANGE, FOR, SOFT), 4 * ("-", (0, (4, 1.5)), (0, (1, 1.2))), strict=True)
)
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "font.size": 10,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.color": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "path.simplify_threshold": 0.5,
}
# What is taken out: names of groups, which other plots have too; fonts that the page does not use; and a style that
# would hold for all of the page. base.html has these two for all plots.
_UNWANTED = re.compile(r'(?<=<g) id="[^"]*"|font-family: [^;"]*; |<defs>\s*<style.*?</style>\s*</defs>', re.DOTALL)


def key(style: Mapping[str, Any]) -> Markup:
    """A short line in one of STYLES, for a legend in the text of a page."""
    from markupsafe import Markup

    dashes = "" if style["linestyle"] == "-" else " ".join(str(2 * length) for length in style["linestyle"][1])
    line = f'<line x1="0" x2="36" y1="4" y2="4" stroke="var(--{_VARIABLES[style["color"]]})" stroke-width="3"'
    return Markup(f'<svg class="key" viewBox="0 0 36 8" aria-hidden="true">{line} stroke-dasharray="{dashes}"/></svg>')


def plot(draw: Callable[[Axes], None], alt: str, *, height: float = HEIGHT, width: float = WIDTH) -> Markup:
    """What `draw` draws into axes, as SVG. `alt` says it in words. Sizes are in inches, of 72 units."""
    from markupsafe import Markup, escape
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # The salt is for the names of what is defined in the SVG: they must not be those of another one.
    with rc_context({**_STYLE, "svg.hashsalt": alt}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        file = StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    _, box, body = re.split(r'<svg .*?viewBox="([^"]*)"[^>]*>', file.getvalue(), maxsplit=1)
    body = _UNWANTED.sub("", body)
    for colour, name in _VARIABLES.items():
        body = body.replace(colour, f"var(--{name})")
    return Markup(f'<svg viewBox="{box}" role="img" aria-label="{escape(alt)}">{body.strip()}')
