"""Texts and pairs of texts, asked of a server for a label, several labels or a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from llmkit.tasks.label import label_sets
from llmkit.tasks.served import Input, LabelOf, Output, Served
from llmkit.tasks.values import Prediction


class Text(Input):
    """A text."""

    text: str = Field(min_length=1, examples=["The ship sails at noon."])


class Pair(Input):
    """A pair of texts."""

    text: str = Field(title="First text", examples=["The ship sails at noon."])
    pair: str = Field(title="Second text", examples=["The ship leaves in the middle of the day."])


class Label(Output):
    """The most likely label."""

    text: str = Field(description="The label.")
    score: float = Field(description="Its probability, from 0 to 1.")
    candidates: list[LabelOf] = Field(description="All labels, 50 at most, most likely first.")


class Labels(Output):
    """All labels whose probability is above their threshold."""

    text: str = Field(description="The labels, joined by |.")
    labels: list[str] = Field(description="The labels.")
    score: float = Field(description="The probability of this set of labels, from 0 to 1.")
    candidates: list[LabelOf] = Field(description="All labels with their own probabilities, most likely first.")


class Number(Output):
    """A number."""

    text: str = Field(description="The number as text, as in predictions.jsonl.")
    number: float


def served_label(text_column: str, pair_column: str | None) -> Served:
    """One label to a text or a pair, which the task reads from these columns."""
    return _served("labels", Label, text_column, pair_column, _label)


def served_labels(text_column: str, pair_column: str | None) -> Served:
    """Any number of labels."""
    return _served("labels", Labels, text_column, pair_column, _labels)


def served_number(text_column: str, pair_column: str | None) -> Served:
    """A number."""
    return _served("number", Number, text_column, pair_column, _number)


def _served(view: Any, output: type[Output], text_column: str, pair_column: str | None, answer: Any) -> Served:
    def row(given: Any) -> dict[str, Any]:
        return {text_column: given.text} | ({pair_column: given.pair} if pair_column is not None else {})

    given, lines = (Text, {"text": 6}) if pair_column is None else (Pair, {"text": 4, "pair": 4})
    return Served(view, lines, given, output, row, answer)


def _candidates(prediction: Prediction) -> list[LabelOf]:
    return [LabelOf(text=each.text, score=each.score, probability=each.probability) for each in prediction.candidates]


def _label(prediction: Prediction, _: Mapping[str, Any]) -> Label:
    return Label(text=prediction.text, score=prediction.score, candidates=_candidates(prediction))


def _labels(prediction: Prediction, _: Mapping[str, Any]) -> Labels:
    text = prediction.text
    return Labels(text=text, labels=label_sets.parts(text), score=prediction.score, candidates=_candidates(prediction))


def _number(prediction: Prediction, _: Mapping[str, Any]) -> Number:
    return Number(text=prediction.text, number=float(prediction.text))
