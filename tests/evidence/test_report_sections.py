"""The sections of a report about single predictions: what they say, and in a browser the choice by slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from support.browser import CHROMIUM, browser

from llmkit.evidence.report import calibration, errors, label_errors
from llmkit.evidence.report.page import write_report
from llmkit.evidence.report.reported import Logged, Reported
from llmkit.tasks import TASKS
from llmkit.tasks.values import Candidate, Prediction

pytest.importorskip("matplotlib")
pytest.importorskip("cleanlab")

EXAMPLES = 400
LABELS = ("calm", "rough")


def reported(task: str, examples: Dataset, predictions: list[Prediction]) -> Reported:
    kind, data = TASKS[task], TASKS[task].data_class(train="rows.jsonl")
    scores = kind.score(predictions, examples, data)
    recipe = {"name": "run", "model": {"pretrained": "bert"}, "task": task}
    return Reported(Logged("runs/x", recipe, scores, []), kind, data, examples, predictions)


@pytest.fixture(scope="module")
def labels() -> Reported:
    """Labels of a model that is too sure: 0.95 where three of four are right, 0.8 where half are."""
    generator = np.random.default_rng(4)
    rows, predictions = [], []
    for number in range(EXAMPLES):
        gold, sure = int(generator.integers(2)), 0.95 if number % 2 else 0.8
        found = gold if generator.random() < (0.75 if number % 2 else 0.5) else 1 - gold
        rows.append(
            {"id": str(number), "text": "<b>sea</b> " + "w " * (number % 40), "pair": None, "label": LABELS[gold]}
        )
        pairs = ((LABELS[found], sure), (LABELS[1 - found], 1 - sure))
        candidates = tuple(Candidate(name, None, None, 0.0, p) for name, p in pairs)
        predictions.append(Prediction(str(number), LABELS[found], sure, candidates=candidates))
    return reported("classification", Dataset.from_list(rows), predictions)


def test_a_model_that_is_too_sure_is_named(labels: Reported) -> None:
    section = calibration.section(labels)
    assert section.said[0].startswith("Confidence: too sure: 87.5 % on average")
    assert section.markup.count("<svg") == 2
    assert "With a temperature of" in section.markup
    assert "When to abstain" not in section.markup


def test_the_surest_errors_come_first_and_are_escaped(labels: Reported) -> None:
    section = errors.section(labels)
    assert section is not None
    correct = labels.review.correct
    assert correct is not None
    assert section.markup.count("<article") == min(errors.SHOWN, int((~correct).sum()))
    assert f"{int((~correct).sum())} examples that are not answered exactly right" in section.markup
    assert "<b>sea" not in section.markup
    assert "· 0.95<" in section.markup
    assert '<optgroup label="gold label">' in section.markup
    assert "calm (5.0%)" in section.markup


def test_suspect_labels_are_said_with_their_probabilities(labels: Reported) -> None:
    section = label_errors.section(labels)
    assert section is not None
    assert section.said[0].startswith("Gold labels: ")
    assert "(5.0 %), likely" in section.markup
    assert "It has not trained on these examples" in section.markup


def test_abstaining_has_its_curve() -> None:
    rows, predictions = [], []
    for number in range(40):
        answers = {"text": ["1820"], "answer_start": [3]} if number % 3 else {"text": [], "answer_start": []}
        context = f"In 1820. {number}"
        rows.append({"id": str(number), "title": "", "context": context, "question": "When?", "answers": answers})
        null, candidates = (number % 7) - 3.0, (Candidate("1820", 3, 7, 1.0, 0.5 + number / 100),)
        text, sure = ("", 0.5 - number / 100) if null > 0 else ("1820", 0.5 + number / 100)
        place = (3, 7) if text else (None, None)
        predictions.append(Prediction(str(number), text, sure, *place, null_score=null, candidates=candidates))
    its = reported("squad_v2", Dataset.from_list(rows), predictions)
    markup = calibration.section(its).markup
    assert "When to abstain" in markup
    assert " used<" in markup
    assert " tuned<" in markup
    assert markup.count("<svg") == 3
    assert label_errors.section(its) is None
    shown = errors.section(its)
    assert shown is not None
    assert '<span class="gold" title="gold">1820</span>' in shown.markup


def test_what_has_no_confidence_says_so() -> None:
    rows = [{"id": str(n), "text": "sea", "pair": None, "label": str(n / 7)} for n in range(20)]
    predictions = [Prediction(str(n), str(n / 5), 1.0) for n in range(20)]
    its = reported("regression", Dataset.from_list(rows), predictions)
    assert "a number comes without a confidence" in calibration.section(its).markup
    section = errors.section(its)
    assert section is not None
    assert section.markup.index("19 ·") < section.markup.index("18 ·"), "the farthest first"
    assert label_errors.section(its) is None


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_errors_are_chosen_by_slice(labels: Reported, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report([labels.run], labels, file)
    shown = "[...document.querySelectorAll('#errors article')].filter(each => each.checkVisibility()).length"
    with browser(tmp_path / "profile") as page:
        page.open(file, width=400, dark=True)
        assert page.value(shown) == errors.OPEN
        options: list[Any] = page.value(
            "[...document.querySelectorAll('#errors option')].map(each => [each.value, each.text])"
        )
        for value, text in options[1:]:
            page.value(
                f"{{const s = document.querySelector('#errors select'); s.value = '{value}';"
                "s.dispatchEvent(new Event('change')); 0}"
            )
            assert f"({page.value(shown)})" in text
        assert len(options) > 4
        assert page.value("document.documentElement.scrollWidth") <= 400
        assert page.problems == []
