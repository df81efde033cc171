"""Scores of short answers are those of nq_eval.py, whose answers were recorded."""

from __future__ import annotations

from typing import Any

import pytest
from support.recordings import recorded

from llmkit.tasks.span.natural_questions_scores import short_answer_scores

RECORDED: list[dict[str, Any]] = recorded("official_nq_scores.jsonl.gz")


def answer_of(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def annotation_of(value: Any) -> Any:
    return {tuple(span) for span in value} if isinstance(value, list) else value


def ours_of(row: dict[str, Any]) -> dict[str, Any]:
    return short_answer_scores(
        [answer_of(value) for value in row["predictions"]],
        row["scores"],
        [[annotation_of(value) for value in one] for one in row["annotations"]],
        [f"document {number // 2}" for number in range(len(row["scores"]))],
        non_null_annotations=row["non_null"],
    )


@pytest.fixture(scope="module")
def ours() -> list[dict[str, Any]]:
    """Our scores of every row that was recorded, without the intervals, which the official script lacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmkit.tasks.span.natural_questions_scores.interval", lambda measure, documents: None)
        return [ours_of(row) for row in RECORDED]


def test_short_answer_scores_equal_nq_eval(ours: list[dict[str, Any]]) -> None:
    assert len(RECORDED) == 80
    for scores, row in zip(ours, RECORDED, strict=True):
        theirs = row["metrics"]
        best = {name: 100 * theirs[f"short-best-threshold-{name}"] for name in ("f1", "precision", "recall")}
        assert {name: scores[name] for name in best} == pytest.approx(best)
        if best["f1"]:
            assert scores["threshold"] == pytest.approx(theirs["short-best-threshold"])
        every = {f"all_{name}": 100 * theirs[f"short-answer-{name}"] for name in ("f1", "precision", "recall")}
        assert {name: scores[name] for name in every} == pytest.approx(every)
        for precision in (0.5, 0.75, 0.9):
            wanted = 100 * theirs[f"short-recall-at-precision>={precision}"]
            assert scores[f"recall_at_precision_{precision}"] == pytest.approx(wanted)


def test_the_threshold_is_also_chosen_where_it_is_not_reported(ours: list[dict[str, Any]]) -> None:
    tuned = [scores["tuned"] for scores in ours if scores["tuned"]]
    assert len(tuned) > 40
    for one in tuned:
        assert one["tuned_on"]["total"] > 0
        assert one["reported_on"]["total"] > 0
