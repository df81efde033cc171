"""What a server reads and answers for a kind of task: two pydantic models, which are also its documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmkit.tasks.values import Prediction

View = Literal["span", "labels", "number", "tags", "text"]


class Input(BaseModel):
    """What one prediction is asked of."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Output(BaseModel):
    """One prediction. Its fields are called as in predictions.jsonl."""


class SpanOf(BaseModel):
    """A candidate that is a part of the passage: its characters `start` to `end`, the end exclusive."""

    text: str
    start: int
    end: int
    score: float = Field(description="The logit.")
    probability: float = Field(description="Among all candidates, from 0 to 1.")


class LabelOf(BaseModel):
    """A candidate that is a label."""

    text: str
    score: float = Field(description="The logit.")
    probability: float = Field(description="From 0 to 1.")


@dataclass(frozen=True)
class Served:
    """What a server reads and answers for a model.

    view      how a page shows an answer
    lines     the fields of the input that a page has, and how many lines of text each of them shows
    input     the model of a request
    output    the model of its answer
    row       an input as a row of the task, which `Task.example` checks
    answer    (prediction, its example in canonical columns) → the output
    """

    view: View
    lines: Mapping[str, int]
    input: type[Input]
    output: type[Output]
    row: Callable[[Any], Mapping[str, Any]]
    answer: Callable[[Prediction, Mapping[str, Any]], Output]
