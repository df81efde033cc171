"""What a report says of single labels, sets of labels and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.tasks.label import label_sets, slices
from llmkit.tasks.label.labels import in_order
from llmkit.tasks.label.scores import label_measures, number_measures
from llmkit.tasks.review import Claims, Labelling, Review
from llmkit.tasks.shown import Case, Part, plain
from llmkit.tasks.slices import Detail, Sliced, Slicing
from llmkit.tasks.values import Array, Prediction

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.label.task import Classification

SHOWN = 3  # labels with their probabilities


def _texts(example: dict[str, Any]) -> list[tuple[str, Sequence[Part]]]:
    """The texts of an example by name."""
    names = ("text", "pair") if example["pair"] is not None else ("text",)
    return [(name, plain(example[name])) for name in names]


class LabelReview(Review):
    """A label for each text or pair of texts."""

    task: Classification

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """See Review."""
        return [slices.by_label(self.examples), *slices.slicings(self.examples)]

    def sliced(self, train: Dataset | None) -> Iterator[Sliced]:
        """See Review: the accuracy, since other scores say nothing of a single label."""
        found = label_measures(self.predictions, self.examples, ("accuracy",), self.task.names)
        yield Sliced(f"{self.task.item}s", "accuracy", found["accuracy"], self.slicings)

    def details(self) -> Iterator[Detail]:
        """See Review: the confusion of labels, and the scores of each."""
        yield from slices.confusion(self.predictions, self.examples, self.task.names)

    def case(self, row: int) -> Case:
        """See Review: the texts, and the most probable labels."""
        example, prediction = self.examples[row], self.found[row]
        if prediction is None:
            return Case(_texts(example), example["label"])
        sure = {candidate.text: candidate.probability for candidate in prediction.candidates}
        shown = [prediction.text, *(label for label in list(sure)[:SHOWN] if label != prediction.text)]
        return Case(_texts(example), _with(example["label"], sure), ", ".join(_with(label, sure) for label in shown))

    def labellings(self) -> Iterator[Labelling]:
        """See Review: one, of the examples with labels that the model knows."""
        its = [row for row, each in enumerate(self.found) if each is not None and each.candidates]
        known = {candidate.text for row in its for candidate in _candidates(self.found[row])}
        gold = self.examples["label"][:]
        rows = [row for row in its if gold[row] in known]
        names = in_order({gold[row] for row in rows})
        number = {name: place for place, name in enumerate(names)}
        probabilities = np.zeros((len(rows), len(names)))
        for place, row in enumerate(rows):
            for candidate in _candidates(self.found[row]):
                if candidate.text in number:
                    probabilities[place, number[candidate.text]] = candidate.probability
        yield Labelling(names, np.array([number[gold[row]] for row in rows], int), probabilities, np.array(rows, int))


class MultiLabelReview(Review):
    """Any number of labels for each text: every label of every text is a question of its own."""

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """See Review."""
        return [slices.by_number_of_labels(self.examples), *slices.slicings(self.examples)]

    def sliced(self, train: Dataset | None) -> Iterator[Sliced]:
        """See Review: micro F1 of examples, since average precision is not of single ones; and of labels, by label."""
        found = self.task.measures(self.predictions, self.examples, self.data)
        yield Sliced(f"{self.task.item}s", "micro_f1", found["micro_f1"], self.slicings)
        yield slices.sliced_labels(self.predictions, self.examples)

    def claims(self) -> Claims:
        """See Review: of each label of each text, that it is given or not."""
        confidence, right, groups = [], [], []
        ids, gold = self.examples["id"][:], self.examples["label"][:]
        for row, prediction in enumerate(self.found):
            given, wanted = label_sets.parts(prediction.text if prediction else ""), label_sets.parts(gold[row])
            for candidate in _candidates(prediction):
                is_given = candidate.text in given
                confidence.append(candidate.probability if is_given else 1 - candidate.probability)
                right.append(is_given == (candidate.text in wanted))
                groups.append(ids[row])
        sure = np.array(confidence, np.float64)
        return Claims("labels of texts", sure, np.array(right, bool), groups, np.column_stack([sure, 1 - sure]))

    def case(self, row: int) -> Case:
        """See Review: the texts, and the labels of both sets."""
        example, prediction = self.examples[row], self.found[row]
        sure = {candidate.text: candidate.probability for candidate in _candidates(prediction)}
        sets = [label_sets.parts(text) for text in (example["label"], prediction.text if prediction else "")]
        gold, predicted = (", ".join(_with(label, sure) for label in labels) or "no label" for labels in sets)
        return Case(_texts(example), gold, predicted)

    def labellings(self) -> Iterator[Labelling]:
        """See Review: one for each label that some texts have and others lack."""
        rows = [row for row, prediction in enumerate(self.found) if _candidates(prediction)]
        sure = [{each.text: each.probability for each in _candidates(self.found[row])} for row in rows]
        sets = [set(label_sets.parts(self.examples["label"][row])) for row in rows]
        for label in label_sets.all_labels(self.examples):
            gold = np.array([label in labels for labels in sets], int)
            if not all(label in each for each in sure) or len(set(gold.tolist())) < 2:
                continue
            given = np.array([each[label] for each in sure])
            names = (f"not {label}", label)
            yield Labelling(names, gold, np.column_stack([1 - given, given]), np.array(rows, int))


class NumberReview(Review):
    """A number for each text or pair of texts."""

    unclaimed: ClassVar[str] = "a number comes without a confidence"
    worst_by: ClassVar[str] = "distance from the gold number"

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """See Review."""
        return [slices.by_number(self.examples), *slices.slicings(self.examples)]

    def sliced(self, train: Dataset | None) -> Iterator[Sliced]:
        """See Review: the mean squared error, since correlations in a slice of numbers depend on how wide it is."""
        mean = float(np.mean([float(label) for label in self.examples["label"][:]]))
        found = number_measures(self.predictions, self.examples, ("mse",), missing=mean)
        yield Sliced(f"{self.task.item}s", "mse", found["mse"], self.slicings, is_error=True)

    def details(self) -> Iterator[Detail]:
        """See Review."""
        yield slices.residuals(self.predictions, self.examples)

    def errors(self) -> Array:
        """See Review: how far each number is from the gold one."""
        found = np.array([np.nan if each is None else float(each.text) for each in self.found])
        gold = np.array([float(label) for label in self.examples["label"][:]])
        distances: Array = np.abs(found - gold)
        return distances

    def case(self, row: int) -> Case:
        """See Review."""
        example, prediction = self.examples[row], self.found[row]
        return Case(_texts(example), example["label"], prediction.text if prediction is not None else "")


def _candidates(prediction: Prediction | None) -> Sequence[Any]:
    return prediction.candidates if prediction is not None else ()


def _with(label: str, sure: dict[str, float]) -> str:
    """A label with its probability, if that is known."""
    return f"{label} ({sure[label]:.1%})" if label in sure else label
