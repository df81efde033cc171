"""What a report shows of labels and numbers: slices, the confusion of labels, residuals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from llmkit.corpus.words import words
from llmkit.tasks.label import label_sets
from llmkit.tasks.label.scores import labels_of
from llmkit.tasks.measures import Measured, Sums, f1_of_counts
from llmkit.tasks.slices import Confusion, Listed, Residuals, Sliced, Slicing, in_quarters, number_of_words
from llmkit.tasks.values import Array, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

NONE = "(none)"  # the predicted label of an example without a prediction
MOST = 30  # labels of a confusion matrix: the most frequent
OTHERS = "(others)"


def slicings(examples: Dataset) -> list[Slicing]:
    """The ways to cut texts or pairs of texts."""
    lengths = number_of_words(examples["text"][:])
    pairs = examples["pair"][:]
    if all(pair is None for pair in pairs):
        return [in_quarters("words of the text", lengths)]
    others = number_of_words([pair or "" for pair in pairs])
    return [
        in_quarters("words of both texts", lengths + others),
        in_quarters("words by which the texts differ in length", np.abs(lengths - others)),
        in_quarters(
            "words of the first text in the second, in percent",
            [_shared(text, pair or "") for text, pair in zip(examples["text"][:], pairs, strict=True)],
        ),
    ]


def _shared(text: str, other: str) -> float:
    found = set(words(text.lower()))
    return round(100 * len(found & set(words(other.lower()))) / len(found)) if found else np.nan


def by_label(examples: Dataset) -> Slicing:
    """Examples by their gold label."""
    return Slicing("gold label", examples["label"][:], rule="The score of a label is its recall.")


def by_number_of_labels(examples: Dataset) -> Slicing:
    """Examples by how many gold labels they have. Those without are in no slice: their F1 is 0, whatever is found."""
    names = ("1 label", "2 labels", "3 labels and more")
    numbers = [len(label_sets.parts(text)) for text in examples["label"][:]]
    return Slicing(
        "number of gold labels", [names[min(3, number) - 1] if number else None for number in numbers], names
    )


def sliced_labels(predictions: Sequence[Prediction], examples: Dataset) -> Sliced:
    """F1 of single labels, gold and predicted ones, of examples with any number of them."""
    counts: list[tuple[int, int, int]] = []  # right, predicted, gold
    groups, labels = [], []
    rows = zip(examples["id"][:], by_id(predictions, examples), examples["label"][:], strict=True)
    for example_id, prediction, text in rows:
        ours, theirs = set(label_sets.parts(prediction.text if prediction else "")), set(label_sets.parts(text))
        for label in sorted(ours | theirs):
            counts.append((label in ours and label in theirs, label in ours, label in theirs))
            groups.append(example_id)
            labels.append(label)
    measure = Sums(np.array(counts, np.float64).reshape(-1, 3), f1_of_counts)
    return Sliced("labels", "f1", Measured(measure, groups), [Slicing("label", labels)])


def confusion(predictions: Sequence[Prediction], examples: Dataset, names: Sequence[str]) -> tuple[Confusion, Listed]:
    """The confusion matrix, and precision, recall and F1 of each label. `names` are the fixed labels."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    gold = examples["label"][:]
    found = [NONE if label is None else label for label in labels_of(predictions, examples, names)]
    counts = Counter([*gold, *found])
    labels = [name for name in names if counts[name]]
    labels += sorted(counts.keys() - set(labels), key=lambda label: (label == NONE, -counts[label], label))
    each = precision_recall_fscore_support(gold, found, labels=labels, zero_division=0)
    rows = [
        [label, *(f"{100 * value:.2f}" for value in values), f"{int(support):,}"]
        for label, *values, support in zip(labels, *each, strict=True)
        if label != NONE
    ]
    table = Listed("Each label", ["label", ">precision", ">recall", ">f1", ">examples"], rows)
    if len(labels) > MOST:
        shown = set(sorted(labels, key=lambda label: -counts[label])[: MOST - 1])
        labels = [*(label for label in labels if label in shown), OTHERS]
        gold, found = ([label if label in shown else OTHERS for label in column] for column in (gold, found))
    return Confusion(labels, confusion_matrix(gold, found, labels=labels)), table


def by_number(examples: Dataset) -> Slicing:
    """Examples by their gold number, about a quarter of them in each slice."""
    gold = _numbers(examples)
    ends = np.unique(np.quantile(gold, (0, 0.25, 0.5, 0.75, 1)))
    names = [f"{low:g} to {high:g}" for low, high in pairwise(ends)] or [f"{gold[0]:g}"]
    place = np.searchsorted(ends[1:-1], gold, side="left")  # a number between two slices is in the lower one
    return Slicing("gold number", [names[at] for at in place], names)


def residuals(predictions: Sequence[Prediction], examples: Dataset) -> Residuals:
    """By how much the predicted numbers are above the gold ones, of examples with a prediction."""
    gold = _numbers(examples)
    found = np.array([np.nan if each is None else float(each.text) for each in by_id(predictions, examples)])
    known = ~np.isnan(found)
    return Residuals(gold[known], (found - gold)[known])


def _numbers(examples: Dataset) -> Array:
    return np.array([float(label) for label in examples["label"][:]])
