"""Robustness: what a change costs a model, and that it costs a perfect one nothing, in every kind of task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from support.tasks import codec_of, fixture, oracle, section

from llmkit.evidence.audit.fairness import fairness
from llmkit.evidence.audit.robustness import robustness
from llmkit.evidence.audit.versions import unfit
from llmkit.tasks import TASKS, task_named
from llmkit.tasks.base import Task
from llmkit.tasks.columns import Columns
from llmkit.tasks.examples import load_examples
from llmkit.tasks.label.task import Classification
from llmkit.tasks.values import Prediction

QUICK = ("squad_v2", "cmrc2018", "natural_questions", "multilabel", "regression", "ner", "pos", "translation")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_gold_answers_follow_every_change_of_every_task(name: str) -> None:
    """A model that knows the gold answers of the changed examples has the score of before."""
    task = TASKS[name]
    data = section(task, fixture(name))
    examples = load_examples(task, data, ["validation"])["validation"]
    codec = codec_of(task, examples)

    def predict(some: Columns) -> list[Prediction]:
        features, outputs = oracle(task, some, codec, data)  # type: ignore[arg-type]
        return task.decode(outputs, features, some, codec, data)  # type: ignore[arg-type]

    audited: Any = SimpleNamespace(task=task, data=data, examples=examples, predict=predict)
    found = robustness(audited, 500, resamples=10)
    assert found.changes
    for each in found.changes:
        assert (each.after, each.difference.value, each.flipped or 0) == (each.before, 0, 0), each
        assert each.before == pytest.approx(100) or each.examples < 3  # F1 and correlations need both classes
    for trait in fairness(audited, 500, resamples=10).traits:
        for group in trait.groups:
            assert (group.difference.value, group.changed) == (0, 0), trait


def audit_of(texts: list[str], labels: list[str], rule: Any) -> Any:
    """Sentences, and a model that is a rule."""
    rows = {"id": list(map(str, range(len(texts)))), "text": texts, "pair": [None] * len(texts), "label": labels}

    def predict(some: Columns) -> list[Prediction]:
        return [Prediction(row["id"], rule(row["text"]), 1.0) for row in some]

    task = task_named("classification")
    return SimpleNamespace(task=task, data=task.data_class(path="x"), examples=Dataset.from_dict(rows), predict=predict)


def test_a_model_that_reads_capitals_is_found_out() -> None:
    texts = [f"The film {number} is good." if number % 2 else f"The film {number} is bad." for number in range(40)]
    labels = ["good" if number % 2 else "bad" for number in range(40)]
    found = robustness(audit_of(texts, labels, lambda text: "good" if "good" in text else "bad"), 500, resamples=200)
    by_name = {each.name: each for each in found.changes}
    upper = by_name["upper case"]
    assert (upper.examples, upper.before, upper.after) == (40, 100, 50)
    assert (upper.flipped, upper.gained, upper.difference.value) == (20, 0, -50)
    assert upper.difference.interval is not None
    assert upper.difference.interval[1] < 0
    assert upper.p is not None
    assert upper.p < 0.1
    assert len(upper.flips) == 10
    first = upper.flips[0]
    assert (first.id, first.before, first.after) == ("1", "good", "bad")
    assert first.texts["text"] == ("The film 1 is good.", "THE FILM 1 IS GOOD.")
    assert by_name["no punctuation"].difference.value == 0
    assert by_name["no punctuation"].p == 1
    assert set(found.unchanged) == {"contractions", "distractor", "question word", "names"}
    (table,) = found.tables()
    assert any(row[:5] == ["upper case", "40", "100.00", "50.00", "-50.00"] for row in table.rows)
    assert "distractor" in found.notes()[0]
    assert any("THE FILM 1 IS GOOD." in line for line in found.shown())


def test_the_same_examples_are_drawn_each_time() -> None:
    texts = [f"Text {number}." for number in range(100)]
    audited = audit_of(texts, ["a", "b"] * 50, lambda text: "a")
    first, second = (robustness(audited, 20, resamples=20) for _ in range(2))
    assert first == second
    assert (first.drawn, first.examples) == (20, 100)
    assert "20 of 100" in first.notes()[0]


def test_a_model_that_prefers_a_group_is_found_out() -> None:
    """It finds what men write good."""
    texts = [f"{name} wrote this, and {pronoun} is happy." for name, pronoun in [("Tom", "he"), ("Ada", "she")] * 20]
    found = fairness(
        audit_of(texts, ["good"] * 40, lambda text: "good" if " he " in text else "bad"), 500, resamples=200
    )
    by_name = {trait.trait: trait for trait in found.traits}
    men, women = by_name["gender"].groups
    assert (men.name, men.score, women.score, men.difference.value) == ("men", 100, 0, 100)
    assert (men.changed, women.changed) == (50, 50)
    assert (women.difference.value, women.p) == (-100, men.p)
    assert men.p is not None
    assert men.p < 0.1
    assert by_name["origin"].examples == 40
    assert all(group.difference.value == 0 and group.changed == 0 for group in by_name["origin"].groups)
    change = by_name["gender"].changes[0]
    assert "she is happy" in change.texts["text"][0] or "he is happy" in change.texts["text"][0]
    assert [table.columns[0] for table in found.tables()] == ["group"] * 4


def test_a_model_that_ignores_people_changes_nothing() -> None:
    texts = [f"Mary told him number {number}." for number in range(30)]
    found = fairness(audit_of(texts, ["a"] * 30, lambda text: "a"), 500, resamples=200)
    for trait in found.traits:
        assert trait.examples == 30
        assert all(group.difference.value == 0 and group.changed == 0 for group in trait.groups)


def test_texts_without_people() -> None:
    found = fairness(audit_of(["A ship."] * 3, ["a"] * 3, lambda text: "a"), 500, resamples=200)
    assert found.absent == ("gender", "origin")
    assert "gender, origin" in found.notes()[0]


def test_a_kind_that_says_nothing_about_changes() -> None:
    class Silent(Classification):
        editor = Task.editor

    assert unfit(task_named("classification")) is None
    assert "cannot be changed: its kind does not say" in str(unfit(Silent("silent", "Silent", "x")))


def test_a_number_is_the_same_within_one_percent() -> None:
    task = task_named("regression")
    first, near, far = (Prediction("1", text, 1.0) for text in ("100.0", "100.9", "102.0"))
    assert task.editor.same_answer(first, near, {})
    assert not task.editor.same_answer(first, far, {})
