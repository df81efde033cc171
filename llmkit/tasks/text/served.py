"""A source, asked of a server for the text that a model writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from llmkit.tasks.served import Input, Output, Served
from llmkit.tasks.values import Prediction


class Source(Input):
    """A text to translate, to summarize or to turn into a program."""

    source: str = Field(min_length=1, examples=["Two dogs run on the beach."])


class Written(Output):
    """The text that the model wrote."""

    text: str
    score: float = Field(description="The mean probability of its tokens, from 0 to 1.")


def served_text(source_column: str) -> Served:
    """Sources, which the task reads from this column."""
    return Served("text", {"source": 6}, Source, Written, lambda given: {source_column: given.source}, _written)


def _written(prediction: Prediction, _: Mapping[str, Any]) -> Written:
    return Written(text=prediction.text, score=prediction.score)
