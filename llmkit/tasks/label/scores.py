"""Scores of classification and regression, with 95 % bootstrap intervals over examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.label import metrics
from llmkit.tasks.label.labels import canonical_label
from llmkit.tasks.values import Array, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset


def label_scores(
    predictions: Sequence[Prediction], examples: Dataset, wanted: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """The `wanted` scores in percent, each with its interval [low, high], and `total`. `names` are the fixed labels.

    If examples have several parts, these are the scores of the first part; scores of other parts end in the part's
    name: `accuracy_mismatched`. Raises UserError if there are fixed labels and no prediction is one of them.
    """
    found = [_label(prediction, names) for prediction in by_id(predictions, examples)]
    if names and not set(found) & set(names):
        raise UserError(
            f"no prediction is a label of the task: the first is {predictions[0].text!r}",
            remedy=f"its labels are {', '.join(names)}, or their numbers",
        )
    gold = examples["label"][:]
    part_of = examples["part"][:] if "part" in examples.column_names else [""] * len(gold)
    scores: dict[str, Any] = {}
    for part in dict.fromkeys(part_of):
        suffix = f"_{part.partition('_')[2]}" if scores else ""
        rows = [row for row, its in enumerate(part_of) if its == part]
        matrix = _matrix([gold[row] for row in rows], [found[row] for row in rows], names)
        scores |= _with_intervals(matrix, wanted, suffix)
    return {**scores, "total": len(gold)}


def _label(prediction: Prediction | None, names: Sequence[str]) -> str | None:
    if prediction is None:
        return None
    text = canonical_label(prediction.text)
    numbered = text not in names and text.isdecimal() and int(text) < len(names)
    return names[int(text)] if numbered else text


def _matrix(gold: list[str], found: list[str | None], names: Sequence[str]) -> Array:
    labels = dict.fromkeys([*names, *gold, *(label for label in found if label is not None)])
    return metrics.confusion_matrix(gold, found, list(labels))


def _with_intervals(matrix: Array, wanted: Sequence[str], suffix: str) -> dict[str, Any]:
    resampled = metrics.resampled_matrices(matrix)
    scores: dict[str, Any] = {}
    for name in wanted:
        metric = metrics.METRICS[name]
        scores[f"{name}{suffix}"] = float(100 * metric(matrix))
        if resampled is not None:
            scores[f"{name}{suffix}_interval"] = _interval(metric(resampled))
    return scores


def number_scores(
    predictions: Sequence[Prediction], examples: Dataset, wanted: Iterable[str], missing: float
) -> dict[str, Any]:
    """The `wanted` scores of predicted numbers, each with its interval [low, high], and `total`.

    They are in percent, but `mse` is in squared units of the numbers. A missing prediction counts as `missing`. Raises
    UserError if a prediction is not a number.
    """
    gold = np.array([float(label) for label in examples["label"][:]])
    found = np.array([_number(prediction, missing) for prediction in by_id(predictions, examples)])
    values, resampled = metrics.number_metrics(gold, found), metrics.resampled_numbers(gold, found)
    scores: dict[str, Any] = {}
    for name in wanted:
        unit = 1 if name == "mse" else 100
        scores[name] = unit * values[name]
        scores[f"{name}_interval"] = _interval(resampled[name], unit)
    return {**scores, "total": len(gold)}


def _number(prediction: Prediction | None, missing: float) -> float:
    if prediction is None:
        return missing
    try:
        number = float(prediction.text)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise UserError(
            f"the prediction for {prediction.id} is {prediction.text!r}, which is not a number",
            remedy="give a number as the text of each prediction",
        )
    return number


def _interval(values: Array, unit: float = 100) -> list[float]:
    return [float(unit * end) for end in np.quantile(values, (0.025, 0.975))]
