"""Every kind of task can be compared."""

from __future__ import annotations

from typing import Any

import pytest

from llmkit.evidence.comparison import compare
from llmkit.tasks import TASKS
from llmkit.tasks.columns import Columns
from llmkit.tasks.values import Prediction

IDS = ["a", "b", "c", "d"]
KINDS: dict[str, tuple[dict[str, list[Any]], list[str], list[str], tuple[float, ...] | None]] = {
    "glue/sst2": (
        {"label": ["positive", "negative", "positive", "negative"]},
        ["positive", "negative", "positive", "positive"],
        ["positive", "positive", "negative", "negative"],
        (0.25, 0.5, 0.25, 0),
    ),
    "ner": (
        {"tags": [["B-PER", "O"], ["O", "O"], ["B-LOC", "I-LOC"], ["O", "B-PER"]]},
        ["B-PER O", "O O", "B-LOC I-LOC", "O O"],
        ["O O", "O O", "B-LOC O", "O O"],
        (0.25, 0.5, 0, 0.25),
    ),
    "glue/stsb": ({"label": ["1", "2", "3", "4"]}, ["1", "2", "3", "5"], ["4", "1", "3", "2"], None),
    "scan": (
        {"target": ["JUMP", "WALK WALK", "RUN", "LOOK"]},
        ["JUMP", "WALK  WALK", "RUN", "RUN"],
        ["", "WALK", "RUN", "LOOK"],
        (0.25, 0.5, 0.25, 0),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_scores_differences_and_answers(name: str) -> None:
    columns, first, second, shares = KINDS[name]
    task = TASKS[name]
    examples = Columns({"id": IDS, **columns})
    data = task.data_class(path="data")
    predictions = {
        system: [[Prediction(i, text, 1.0) for i, text in zip(IDS, found, strict=True)]]
        for system, found in (("first", first), ("second", second))
    }
    found = compare(task, predictions, examples, data)
    for system, (run,) in predictions.items():
        scores = task.score(run, examples, data)
        assert {key: of.value for key, of in found.scores[system].items()} == pytest.approx(
            {key: scores[key] for key in found.scores[system]}
        )
        assert task.metric in found.scores[system]
        for key, of in found.scores[system].items():
            assert of.interval == pytest.approx(scores[f"{key}_interval"])
    for pair in found.pairs:
        expected = found.scores["first"][pair.score].value - found.scores["second"][pair.score].value
        assert pair.difference.value == pytest.approx(expected)
    if shares is None:
        assert found.answered == []
    else:
        (answered,) = found.answered
        assert (answered.both, answered.only_first, answered.only_second, answered.none) == shares
