"""A question and its passage, asked of a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from llmkit.tasks.served import Input, Output, Served, SpanOf
from llmkit.tasks.values import Candidate, Prediction


class Question(Input):
    """A question, and the passage that answers it."""

    question: str = Field(min_length=1, examples=["Who founded Ambury?"])
    context: str = Field(
        min_length=1,
        title="Passage",
        description="Text of any length: one longer than the model reads is read in windows that overlap.",
        examples=["Ambury was founded by Tom Reed in 1820. It lies by the sea."],
    )


class Answer(Output):
    """The answer, which is a part of the passage: its characters `start` to `end`, the end exclusive."""

    text: str = Field(description="The answer; empty if the model finds none in the passage.")
    score: float = Field(description="The probability of the answer among all candidates, from 0 to 1.")
    start: int | None = Field(description="null without an answer.")
    end: int | None = Field(description="null without an answer.")
    line: int | None = Field(description="The answer's line in the passage, counted from 1.")
    null_score: float | None = Field(
        description="The logit of having no answer minus that of the best candidate; null if every question has one."
    )
    candidates: list[SpanOf] = Field(description="The best spans, most likely first.")


def _answer(prediction: Prediction, example: Mapping[str, Any]) -> Answer:
    return Answer(
        text=prediction.text,
        score=prediction.score,
        start=prediction.start,
        end=prediction.end,
        line=line_of(prediction, example["context"]),
        null_score=prediction.null_score,
        candidates=[_candidate(each) for each in prediction.candidates],
    )


def _candidate(candidate: Candidate) -> SpanOf:
    return SpanOf.model_validate({name: getattr(candidate, name) for name in SpanOf.model_fields})


def line_of(prediction: Prediction, context: str) -> int | None:
    """The line of an answer in its passage, counted from 1; None if there is no answer."""
    return None if prediction.start is None else context.count("\n", 0, prediction.start) + 1


SERVED = Served("span", {"question": 1, "context": 8}, Question, Answer, Input.model_dump, _answer)
