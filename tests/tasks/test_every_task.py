"""The contract of all tasks: gold answers, as a model's outputs, decoded and scored, are worth 100."""

from __future__ import annotations

from typing import Any

import pytest
from support.tasks import codec_of, fixture, oracle, section

from llmkit.recipes.shipped import shipped_recipes
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_examples
from llmkit.tasks.label.multilabel import MultiLabel
from llmkit.tasks.label.regression import Regression
from llmkit.tasks.label.task import Classification
from llmkit.tasks.tags.task import Tagging

pytestmark = pytest.mark.oldest


@pytest.mark.parametrize("name", TASKS)
def test_contract(name: str) -> None:
    task = TASKS[name]
    data = section(task, fixture(name))
    examples = load_examples(task, data, ["validation"])["validation"]
    assert len(examples) == 3
    codec = codec_of(task, examples)
    features, outputs = oracle(task, examples, codec, data)
    predictions = task.decode(outputs, features, examples, codec, data)
    assert [prediction.id for prediction in predictions] == examples["id"][:]
    scores = task.score(predictions, examples, data)
    assert {score: scores[score] for score in task.headline} == pytest.approx(dict.fromkeys(task.headline, 100.0))
    assert task.metric in scores
    assert scores["total"] == 3
    assert task.score(predictions[1:], examples, data)[task.metric] < 100.0, "what is not predicted is not right"


@pytest.mark.parametrize("name", TASKS)
def test_slices_are_of_every_example(name: str) -> None:
    """A report cuts all rows of a score, and a missing prediction is a row too."""
    pytest.importorskip("sklearn")  # the extra `report`
    task = TASKS[name]
    data = section(task, fixture(name))
    examples = load_examples(task, data, ["validation"])["validation"]
    codec = codec_of(task, examples)
    features, outputs = oracle(task, examples, codec, data)
    predictions = task.decode(outputs, features, examples, codec, data)[1:]
    review = task.review(predictions, examples, data)
    assert {len(slicing.of) for slicing in review.slicings} == {3}
    found = list(review.sliced(examples))
    assert found[0].rows == f"{task.item}s"
    for sliced in found:
        assert sliced.slicings, sliced.rows
        for slicing in sliced.slicings:
            assert len(slicing.of) >= len(sliced.measured.groups)
            assert set(slicing.order) >= set(slicing.of) - {None} or not slicing.order
    assert [type(detail).__name__ for detail in review.details()] == _details(task)


def _details(task: Task[Any]) -> list[str]:
    match task:
        case Regression():
            return ["Residuals"]
        case MultiLabel():
            return []
        case Classification():
            return ["Confusion", "Listed"]
        case Tagging():
            return [] if task.each_word else ["Listed"]
    return []


@pytest.mark.parametrize("name", TASKS)
def test_rows_without_answers_are_refused_and_named(name: str) -> None:
    """As gold; as questions to answer they are fine."""
    from llmkit.tasks.examples import examples_of

    task = TASKS[name]
    data = section(task, fixture(name))
    gold = load_examples(task, data, ["train"])["train"]
    with pytest.raises(UserError, match=r"place 0: "):
        examples_of(task, [("place 0", {"id": "x"})], data, "train", labelled=True)
    assert len(gold) == 3


@pytest.mark.parametrize("name", TASKS)
def test_what_the_command_line_says_of_a_task(name: str) -> None:
    task = TASKS[name]
    assert task.name == name
    assert task.recipe in shipped_recipes()
    assert task.metric in task.headline
    assert task.title[0].isupper()
    assert not task.title.endswith(".")
