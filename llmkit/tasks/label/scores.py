"""Scores of classification and regression in percent, with 95 % intervals over examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.label import confusion, correlation
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset


def label_scores(
    predictions: Sequence[Prediction], examples: Dataset, wanted: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """The scores that are wanted, each with its interval [low, high], and `total`; `names` are labels that are fixed.

    Where examples are of several parts, these are the scores of the first part; those of another have its name behind
    theirs: `accuracy_mismatched`. Raises UserError where no prediction is one of the fixed labels.
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
        ending = f"_{part.partition('_')[2]}" if scores else ""
        rows = [row for row, its in enumerate(part_of) if its == part]
        counts = _counts([gold[row] for row in rows], [found[row] for row in rows], names)
        scores |= {name.format(ending): value for name, value in _with_intervals(counts, wanted).items()}
    return {**scores, "total": len(gold)}


def _label(prediction: Prediction | None, names: Sequence[str]) -> str | None:
    if prediction is None:
        return None
    text = prediction.text
    numbered = text not in names and text.isdecimal() and int(text) < len(names)
    return names[int(text)] if numbered else text


def _counts(gold: list[str], found: list[str | None], names: Sequence[str]) -> confusion.Array:
    labels = dict.fromkeys([*names, *gold, *(label for label in found if label is not None)])
    return confusion.counts_of(gold, found, list(labels))


def _with_intervals(counts: confusion.Array, wanted: Sequence[str]) -> dict[str, Any]:
    """Scores by their names, with `{}` for what is added to the name of each."""
    drawn = confusion.drawn_anew(counts)
    scores: dict[str, Any] = {}
    for name in wanted:
        score = confusion.SCORES[name]
        scores[f"{name}{{}}"] = float(100 * score(counts))
        if drawn is not None:
            scores[f"{name}{{}}_interval"] = _interval(score(drawn))
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
