"""Scores of classification and regression, with 95 % bootstrap intervals over examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import scores_of
from llmkit.tasks.label import metrics
from llmkit.tasks.label.labels import canonical_label
from llmkit.tasks.measures import Measured
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset


def label_scores(
    predictions: Sequence[Prediction], examples: Dataset, wanted: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """The `wanted` scores in percent, each with its interval [low, high], and `total`. `names` are the fixed labels.

    See `label_measures` for examples with several parts, and for what it raises.
    """
    found = label_measures(predictions, examples, wanted, names)
    return {**scores_of(found), "total": len(examples)}


def label_measures(
    predictions: Sequence[Prediction], examples: Dataset, wanted: Sequence[str], names: Sequence[str]
) -> dict[str, Measured]:
    """The `wanted` scores as measures. `names` are the fixed labels.

    If examples have several parts, these are the scores of the first part; scores of other parts end in the part's
    name: `accuracy_mismatched`. Raises UserError if there are fixed labels and no prediction is one of them.
    """
    found = labels_of(predictions, examples, names)
    if names and not set(found) & set(names):
        raise UserError(
            f"no prediction is a label of the task: the first is {predictions[0].text!r}",
            remedy=f"its labels are {', '.join(names)}, or their numbers",
        )
    gold, ids = examples["label"][:], examples["id"][:]
    part_of = examples["part"][:] if "part" in examples.column_names else [""] * len(gold)
    measures: dict[str, Measured] = {}
    for part in dict.fromkeys(part_of):
        suffix = f"_{part.partition('_')[2]}" if measures else ""
        rows = [row for row, its in enumerate(part_of) if its == part]
        theirs, ours, groups = [gold[row] for row in rows], [found[row] for row in rows], [ids[row] for row in rows]
        for name in wanted:
            measure = metrics.measure_of_labels(theirs, ours, names, metrics.METRICS[name])
            measures[f"{name}{suffix}"] = Measured(measure, groups)
    return measures


def labels_of(predictions: Sequence[Prediction], examples: Dataset, names: Sequence[str]) -> list[str | None]:
    """The predicted label of each example; None if there is none. `names` are the fixed labels."""
    return [_label(prediction, names) for prediction in by_id(predictions, examples)]


def _label(prediction: Prediction | None, names: Sequence[str]) -> str | None:
    if prediction is None:
        return None
    text = canonical_label(prediction.text)
    numbered = text not in names and text.isdecimal() and int(text) < len(names)
    return names[int(text)] if numbered else text


def number_scores(
    predictions: Sequence[Prediction], examples: Dataset, wanted: Iterable[str], missing: float
) -> dict[str, Any]:
    """The `wanted` scores of predicted numbers, each with its interval [low, high], and `total`.

    They are in percent, but `mse` is in squared units of the numbers. A missing prediction counts as `missing`. Raises
    UserError if a prediction is not a number.
    """
    return {**scores_of(number_measures(predictions, examples, wanted, missing)), "total": len(examples)}


def number_measures(
    predictions: Sequence[Prediction], examples: Dataset, wanted: Iterable[str], missing: float
) -> dict[str, Measured]:
    """The scores of `number_scores` as measures."""
    gold = np.array([float(label) for label in examples["label"][:]])
    found = np.array([_number(prediction, missing) for prediction in by_id(predictions, examples)])
    ids = examples["id"][:]
    return {name: Measured(metrics.measure_of_numbers(gold, found, name), ids) for name in wanted}


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
