"""Scores of Natural Questions: the official F1 of short answers, beside SQuAD 2.0's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.tasks.span.natural_questions_metric import Annotation, Answer, short_answer_scores
from llmkit.tasks.span.scores import squad_v2_scores
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

ASKED = 5  # people, on each question that is evaluated
_LAST = -3.0e38  # below any score


def natural_questions_scores(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """SQuAD 2.0's scores, and with `short_` before them the official ones, at the threshold that is best for them.

    The official ones compare places, not texts, and take every question's best answer, also where the model abstains.
    """
    contexts, annotations = examples["context"][:], examples["annotations"][:]
    found = [
        _answer(prediction, context) for prediction, context in zip(by_id(predictions, examples), contexts, strict=True)
    ]
    short = short_answer_scores(
        [answer for answer, _ in found],
        [score for _, score in found],
        [[_annotation(one) for one in question] for question in annotations],
        contexts,
        # Where one question was put to fewer people than others, what each of them says counts.
        non_null_annotations=people_needed(min(len(question) for question in annotations)),
    )
    short.pop("total")
    return {**{f"short_{name}": value for name, value in short.items()}, **squad_v2_scores(predictions, examples)}


def people_needed(count: int) -> int:
    """How many of those who were asked must have given an answer for there to be one: 2 of 5, else 1."""
    return 2 if count >= ASKED else 1


def _answer(prediction: Prediction | None, context: str) -> tuple[Answer, float]:
    """The best answer's place, and how sure the model is that it is one."""
    if prediction is None:
        return None, _LAST
    best = prediction.candidates[0] if prediction.candidates else prediction
    score = prediction.score if prediction.null_score is None else -prediction.null_score
    if best.start is not None and best.end is not None:
        return (best.start, best.end), score
    # A file of texts alone gives no place.
    start = context.find(best.text) if best.text else -1
    return ((start, start + len(best.text)) if start >= 0 else None), score


def _annotation(one: Mapping[str, Any]) -> Annotation:
    if one["yes_no"] in ("YES", "NO"):
        return "yes" if one["yes_no"] == "YES" else "no"
    return frozenset(zip(one["start"], one["end"], strict=True))
