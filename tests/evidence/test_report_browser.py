"""The pages in a browser: narrow and wide, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import quick_or_slow
from support.browser import CHROMIUM, Page, browser

from llmkit.evidence.report.page import write_report
from llmkit.evidence.report.reported import Logged, Reported
from llmkit.tasks import TASKS
from llmkit.tasks.columns import Columns
from llmkit.tasks.values import Candidate, Prediction

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

EXAMPLES = 200
LIGHT, DARK = "rgb(92, 99, 112)", "rgb(154, 162, 174)"  # the style's --soft
HAN = "東"
LABELS = ("sea", "land", "a-label-without-any-space-that-is-longer-than-a-narrow-window")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def logged(name: str, headline: str, scores: dict[str, Any]) -> Logged:
    """A run that was evaluated twice."""
    steps = [
        {"step": step, "loss": 4 / step, "learning_rate": 1e-5, "tokens_per_second": 900.0} for step in range(1, 400)
    ]
    evaluations: list[dict[str, Any]] = [{"step": step, f"eval_{headline}": step / 5} for step in (200, 400)]
    return Logged(
        name,
        {"name": name, "model": {"pretrained": f"runs/{'long-name-' * 12}"}},
        scores,
        [*steps, *evaluations],
    )


def reported(task: str) -> tuple[list[Logged], Reported]:
    """Two runs, and predictions of the first, of which some are wrong."""
    generator = np.random.default_rng(0)
    gold = [str(number) for number in generator.random(EXAMPLES)] if task == "regression" else None
    gold = gold or generator.choice(LABELS, EXAMPLES).tolist()
    found = [label if generator.random() < 0.7 else gold[0] for label in gold]
    ids = [str(number) for number in range(EXAMPLES)]
    texts = [
        "x" * 300 + " <script>alert(1)</script> wörter − ≤ … " + HAN + " w" * (number % 40)
        for number in range(EXAMPLES)
    ]
    examples: Any = Columns({"id": ids, "text": texts, "pair": [None] * EXAMPLES, "label": gold})
    predictions = [
        Prediction(name, text, 0.9, candidates=(Candidate(text, None, None, 2.0, 0.9),))
        for name, text in zip(ids, found, strict=True)
    ]
    kind, data = TASKS[task], TASKS[task].data_class(train="rows.jsonl")
    scores = kind.score(predictions, examples, data)
    runs = [logged(name, kind.metric, scores) for name in (f"runs/{task}", f"runs/{'another-' * 20}")]
    return runs, Reported(runs[0], kind, data, examples, predictions)


@pytest.mark.parametrize("task", quick_or_slow(["classification", "regression", "pretraining"], {"pretraining"}))
def test_a_page_is_readable_in_every_window(task: str, chromium: Page, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    if task == "pretraining":
        write_report([logged("runs/pretrain", "loss", {"loss": 2.5, "steps": 400})], None, file)
    else:
        write_report(*reported(task), file)
    for width in (400, 1280):
        for dark in (False, True):
            chromium.open(file, width=width, dark=dark)
            chromium.screenshot(tmp_path / f"{width}-{'dark' if dark else 'light'}.png")
            assert chromium.value("document.documentElement.scrollWidth") <= width
            light = chromium.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert light != dark
            # Text of a chart is as large as that of a page, and in its colour.
            sizes = chromium.value(
                "[...document.querySelectorAll('svg text')].map(each => each.getBoundingClientRect().height)"
            )
            assert min(sizes) >= 9
            fill = chromium.value("getComputedStyle(document.querySelector('svg text')).fill")
            assert fill == (DARK if dark else LIGHT)
            assert set(chromium.missing_glyphs()) <= {HAN}, "a machine may have no font for it"
    assert chromium.problems == []
