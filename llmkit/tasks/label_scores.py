"""Scores of classification and regression in percent, with 95 % intervals over examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.errors import UserError
from llmkit.metrics import confusion, correlation
from llmkit.tasks.base import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.classification import Classification


def label_scores(task: Classification, predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """The scores of the task's headline, each with its interval [low, high], and `total`.

    Where examples are of several parts, these are the scores of the first part; those of another have its name behind
    theirs: `accuracy_mismatched`. Raises UserError where no prediction is one of the task's fixed labels.
    """
    found = [_label(prediction, task.names) for prediction in by_id(predictions, examples)]
    if task.names and not set(found) & set(task.names):
        raise UserError(
            f"no prediction is a label of {task.name}: the first is {predictions[0].text!r}",
            remedy=f"its labels are {', '.join(task.names)}, or their numbers",
        )
    gold = examples["label"][:]
    part_of = examples["part"][:] if "part" in examples.column_names else [""] * len(gold)
    scores: dict[str, Any] = {}
    for part in dict.fromkeys(part_of):
        ending = f"_{part.partition('_')[2]}" if scores else ""
        rows = [row for row, its in enumerate(part_of) if its == part]
        scores |= _scores_of(task, [gold[row] for row in rows], [found[row] for row in rows], ending)
    return {**scores, "total": len(gold)}


def _label(prediction: Prediction | None, names: Sequence[str]) -> str | None:
    if prediction is None:
        return None
    text = prediction.text
    numbered = text not in names and text.isdecimal() and int(text) < len(names)
    return names[int(text)] if numbered else text


def _scores_of(task: Classification, gold: list[str], found: list[str | None], ending: str) -> dict[str, Any]:
    labels = dict.fromkeys([*task.names, *gold, *(label for label in found if label is not None)])
    counts = confusion.counts_of(gold, found, list(labels))
    drawn = confusion.drawn_anew(counts)
    scores: dict[str, Any] = {}
    for name in task.headline:
        score = confusion.SCORES[name]
        scores[name + ending] = float(100 * score(counts))
        if drawn is not None:
            scores[f"{name}{ending}_interval"] = _interval(score(drawn))
    return scores


def number_scores(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """The correlations of predicted numbers, each with its interval, and `total`.

    An example without a prediction counts as predicted 0. Raises UserError where a prediction is no number.
    """
    gold = np.array([float(label) for label in examples["label"][:]])
    found = np.array([_number(prediction) for prediction in by_id(predictions, examples)])
    drawn = correlation.drawn_anew(gold, found)
    scores: dict[str, Any] = {}
    for name, value in correlation.correlations(gold, found).items():
        scores[name] = 100 * value
        scores[f"{name}_interval"] = _interval(drawn[name])
    return {**scores, "total": len(gold)}


def _number(prediction: Prediction | None) -> float:
    if prediction is None:
        return 0.0
    try:
        number = float(prediction.text)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise UserError(
            f"the prediction for {prediction.id} is {prediction.text!r}, which is no number",
            remedy="this task predicts numbers",
        )
    return number


def _interval(values: np.ndarray[Any, np.dtype[Any]]) -> list[float]:
    return [float(100 * end) for end in np.quantile(values, (0.025, 0.975))]
