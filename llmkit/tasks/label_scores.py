"""Scores of classification and regression, with 95 % intervals over examples.

All scores of labels follow from how often each gold label met each predicted one. To draw examples anew is to draw
those counts anew, so every score has its interval at the price of a thousand small matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.errors import UserError
from llmkit.tasks.base import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.classification import Classification

Array = np.ndarray[Any, np.dtype[Any]]

RESAMPLES = 1000
MANY = 50  # labels; with more, their matrices are no longer small, and no interval is given
_MISSING = "\0"  # equals no label


def label_scores(task: Classification, predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """The task's scores in percent, `total`, and intervals [low, high].

    Where examples are of several parts, the scores are those of the task's first part; the others' have its name
    behind their own: `accuracy_mismatched`. Raises UserError where no prediction is one of the task's fixed labels.
    """
    found = [_label(prediction, task.names) for prediction in by_id(predictions, examples)]
    if task.names and not set(found) & set(task.names):
        raise UserError(
            f"no prediction is a label of {task.name}: the first is {predictions[0].text!r}",
            remedy=f"labels are {', '.join(task.names)}, or their numbers",
        )
    gold = np.array(examples["label"][:], object)
    parts = np.array(examples["part"][:]) if "part" in examples.column_names else np.full(len(examples), "")
    texts = np.array(found, object)
    scores: dict[str, Any] = {}
    for number, part in enumerate(dict.fromkeys(parts.tolist())):
        those = parts == part
        ending = f"_{part.partition('_')[2]}" if number else ""
        part_scores = _scores_of(task, gold[those], texts[those])
        scores |= {_with(name, ending): value for name, value in part_scores.items()}
    return {**scores, "total": len(examples)}


def _with(name: str, ending: str) -> str:
    return f"{name.removesuffix('_interval')}{ending}_interval" if name.endswith("_interval") else name + ending


def _label(prediction: Prediction | None, names: Sequence[str]) -> str:
    if prediction is None:
        return _MISSING
    text = prediction.text
    numbered = text not in names and text.isdecimal() and int(text) < len(names)
    return names[int(text)] if numbered else text


def _scores_of(task: Classification, gold: Array, found: Array) -> dict[str, Any]:
    known = dict.fromkeys([*task.names, *gold.tolist(), *found.tolist()])
    known.pop(_MISSING, None)
    number_of = {label: number for number, label in enumerate([*known, _MISSING])}  # what is missing comes last
    pairs = np.array([[number_of[g], number_of[f]] for g, f in zip(gold, found, strict=True)])
    counts = np.zeros((len(number_of), len(number_of)))
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    several = counts.shape[0] <= MANY + 1
    drawn = np.random.default_rng(0).multinomial(len(gold), counts.ravel() / len(gold), RESAMPLES) if several else None
    scores: dict[str, Any] = {}
    for name in task.headline:
        score = SCORES[name]
        scores[name] = float(100 * score(counts))
        if drawn is not None:
            scores[f"{name}_interval"] = _interval(100 * score(drawn.reshape(RESAMPLES, *counts.shape)))
    return scores


def _interval(values: Array) -> list[float]:
    return [float(end) for end in np.quantile(values, (0.025, 0.975))]


# Scores of counts [..., gold, predicted], the last predicted label being the one that is missing.


def accuracy(counts: Array) -> Array:
    """The share of examples whose label was predicted."""
    found: Array = np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))
    return found


def f1_by_label(counts: Array) -> Array:
    """F1 of every label; 0 where it neither occurs nor is predicted."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(axis=-1) + counts.sum(axis=-2)
    values: Array = np.divide(2 * right, either, out=np.zeros(right.shape), where=either > 0)
    return values


def f1(counts: Array) -> Array:
    """F1 of the second of two labels, as GLUE has it."""
    values: Array = f1_by_label(counts)[..., 1]
    return values


def macro_f1(counts: Array) -> Array:
    """The mean of F1 over labels that occur or are predicted."""
    here = (counts.sum(axis=-1) + counts.sum(axis=-2)) > 0
    here[..., -1] = False
    means: Array = (f1_by_label(counts) * here).sum(axis=-1) / here.sum(axis=-1)
    return means


def matthews_correlation(counts: Array) -> Array:
    """The Matthews correlation coefficient of any number of labels; 0 where only one is predicted or occurs."""
    total = counts.sum(axis=(-2, -1))
    gold, found = counts.sum(axis=-1), counts.sum(axis=-2)
    right = np.trace(counts, axis1=-2, axis2=-1)
    above = right * total - (gold * found).sum(axis=-1)
    below = np.sqrt(total**2 - (gold**2).sum(axis=-1)) * np.sqrt(total**2 - (found**2).sum(axis=-1))
    values: Array = np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)
    return values


SCORES: dict[str, Callable[[Array], Array]] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews_correlation": matthews_correlation,
    "combined_score": lambda counts: (accuracy(counts) + f1(counts)) / 2,
}


def correlations(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
    """Pearson's and Spearman's correlation and their mean in percent, `total`, and intervals.

    An example without a prediction counts as predicted 0. Raises UserError where a prediction is no number.
    """
    gold = np.array([float(label) for label in examples["label"]])
    found = np.array([_number(prediction) for prediction in by_id(predictions, examples)])
    drawn = np.random.default_rng(0).integers(len(gold), size=(RESAMPLES, len(gold)))
    resampled = np.array([_correlations(gold[rows], found[rows]) for rows in drawn])
    scores: dict[str, Any] = {}
    for column, (name, value) in enumerate(zip(CORRELATIONS, _correlations(gold, found), strict=True)):
        scores[name] = 100 * value
        scores[f"{name}_interval"] = _interval(100 * resampled[:, column])
    return {**scores, "total": len(examples)}


CORRELATIONS = ("pearson", "spearmanr", "combined_score")


def _correlations(gold: Array, found: Array) -> tuple[float, float, float]:
    pearson, spearman = correlation(gold, found), correlation(ranks(gold), ranks(found))
    return pearson, spearman, (pearson + spearman) / 2


def correlation(a: Array, b: Array) -> float:
    """Pearson's correlation; 0 where one of the two does not vary, which leaves it undefined."""
    a, b = a - a.mean(), b - b.mean()
    below = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / below if below > 0 else 0.0


def ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Array = (ends - (counts - 1) / 2)[inverse]
    return means


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
