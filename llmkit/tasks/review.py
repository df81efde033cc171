"""What a report says of predictions: scores by slice, how sure they were and whether they were right, which are wrong.

`Task.review` gives a Review. Each kind of task has a subclass in its own folder; the base serves kinds of the user's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.tasks.shown import Case, plain
from llmkit.tasks.slices import Detail, Sliced, Slicing
from llmkit.tasks.values import Array, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.recipes.finetuning import DataSection
    from llmkit.tasks.base import Task

CERTAIN = 1 - 1e-3  # probabilities with this sum are all there are


@dataclass(frozen=True)
class Claims:
    """Confidences, each the claim that something is right with this probability.

    rows        what claims are about, plural: `questions`, `entities`
    confidence  from 0 to 1, [rows]
    right       whether what was claimed is right, [rows]
    groups      what is resampled as a whole: the group of each row
    choices     the probabilities of all that could have been chosen, [rows, choices]: the chosen one first, 0 where a
                row has fewer; None if they are not known
    """

    rows: str
    confidence: Array
    right: Array
    groups: Sequence[Hashable]
    choices: Array | None = None


@dataclass(frozen=True)
class Thresholds:
    """Scores in percent by the threshold above which a model abstains.

    at      thresholds, ascending, [n]
    scores  name → the scores at each threshold, [n]
    used    the threshold of the predictions
    tuned   the one tuned on half of the examples; None if it cannot be tuned
    """

    at: Array
    scores: Mapping[str, Array]
    used: float
    tuned: float | None


@dataclass(frozen=True)
class Labelling:
    """Rows with a gold label each, and how probable the model finds each label.

    names          the labels
    gold           the number of each row's gold label, [rows]
    probabilities  [rows, labels]
    examples       the number of each row's example, [rows]
    places         where in the example a row is, in words: `word 3, "Paris"`; empty if it is all of it
    """

    names: Sequence[str]
    gold: Array
    probabilities: Array
    examples: Array
    places: Sequence[str] = ()


@dataclass(frozen=True)
class Review:
    """The predictions of a task for examples that have gold answers."""

    task: Task[Any]
    predictions: Sequence[Prediction]
    examples: Dataset
    data: DataSection

    # Whether `sliced` asks for the training examples.
    slices_by_training: ClassVar[bool] = False
    # Why there are no claims.
    unclaimed: ClassVar[str] = "its kind of task does not say which predictions are right"
    # What errors are ordered by.
    worst_by: ClassVar[str] = "confidence in the wrong answer"
    # Why there are no labellings; empty if there is nothing to say.
    unlabelled: ClassVar[str] = ""

    @cached_property
    def found(self) -> list[Prediction | None]:
        """The prediction for each example; None if there is none."""
        return by_id(self.predictions, self.examples)

    @cached_property
    def correct(self) -> Array | None:
        """Whether each example is answered exactly right, [examples]; None if answers cannot be right or wrong."""
        return self.task.correct(self.predictions, self.examples, self.data)

    @property
    def groups(self) -> Sequence[Hashable]:
        """The group of each example: what is resampled as a whole."""
        return self.examples["id"][:]  # type: ignore[no-any-return]

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """The ways to cut examples into slices."""
        return ()

    def sliced(self, train: Dataset | None) -> Iterator[Sliced]:
        """The scores by slice: that of examples, the task's metric or else the first headline score that is a measure;
        and those of parts of examples, such as entities.

        `train` are the training examples, which are given if `slices_by_training`, and at hand.
        """
        if not self.slicings:
            return
        measures = self.task.measures(self.predictions, self.examples, self.data)
        score = next(name for name in (self.task.metric, *self.task.headline) if name in measures)
        yield Sliced(f"{self.task.item}s", score, measures[score], self.slicings)

    def details(self) -> Iterator[Detail]:
        """What else is shown of the predictions: a confusion matrix, a table."""
        return iter(())

    def claims(self) -> Claims | None:
        """What the confidences claim; None if they claim nothing, for the reason `unclaimed`."""
        if self.correct is None:
            return None
        its = [row for row, prediction in enumerate(self.found) if prediction is not None]
        found = [prediction for prediction in self.found if prediction is not None]
        groups = self.groups
        return Claims(
            f"{self.task.item}s",
            np.array([prediction.score for prediction in found], np.float64),
            self.correct[its],
            [groups[row] for row in its],
            self._choices(found),
        )

    def _choices(self, found: Sequence[Prediction]) -> Array | None:
        """The `choices` of claims: by default the candidates, the first of which is chosen."""
        return as_choices([[candidate.probability for candidate in each.candidates] for each in found])

    def thresholds(self) -> Thresholds | None:
        """The scores by the threshold of abstaining; None if the task does not abstain."""
        return None

    def errors(self) -> Array | None:
        """How bad each example's error is, [examples]: by default the confidence. NaN if it is right, or has no
        prediction; None if nothing is an error."""
        if self.correct is None:
            return None
        scores = np.array([np.nan if each is None else each.score for each in self.found], np.float64)
        found: Array = np.where(self.correct, np.nan, scores)
        return found

    def case(self, row: int) -> Case:
        """An example with its gold answer and its prediction, in words: by default all columns that are text."""
        prediction = self.found[row]
        columns = {name: value for name, value in self.examples[row].items() if name != "id" and value is not None}
        texts = [(name, plain(str(value))) for name, value in columns.items()]
        return Case(texts, predicted=prediction.text if prediction is not None else "")

    def labellings(self) -> Iterator[Labelling]:
        """The gold labels, and what the model makes of each label: to look for wrong ones."""
        return iter(())


def as_choices(rows: Sequence[Sequence[float]]) -> Array | None:
    """Probabilities as [rows, choices], 0 where a row has fewer; None if those of a row are not all there are."""
    if not rows or any(sum(row) < CERTAIN for row in rows):
        return None
    found = np.zeros((len(rows), max(map(len, rows))))
    for row, probabilities in zip(found, rows, strict=True):
        row[: len(probabilities)] = probabilities
    return found
