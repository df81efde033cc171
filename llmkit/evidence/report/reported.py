"""What a report is about: runs, their logs, and the predictions of the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmkit.recipes.finetuning import DataSection
from llmkit.tasks.base import Task
from llmkit.tasks.review import Review
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset
    from markupsafe import Markup


@dataclass(frozen=True)
class Logged:
    """A run: its name, recipe, scores (metrics.json), and the rows of log.jsonl. A pretraining run has no more."""

    name: str
    recipe: Mapping[str, Any]
    scores: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Reported:
    """A fine-tuned run with its predictions.

    data         the data section of its recipe
    examples     those that it was scored on
    predictions  of these, by id: one may be missing
    train        the training examples; None if the kind does not need them for its slices, or they are not at hand
    """

    run: Logged
    task: Task[Any]
    data: DataSection
    examples: Dataset
    predictions: Sequence[Prediction]
    train: Dataset | None = None

    @cached_property
    def ids(self) -> list[str]:
        """The id of each example."""
        ids: list[str] = self.examples["id"][:]
        return ids

    @cached_property
    def by_example(self) -> list[Prediction | None]:
        """The prediction for each example; None if there is none."""
        return by_id(self.predictions, self.examples)

    @cached_property
    def review(self) -> Review:
        """What is said of the predictions."""
        return self.task.review(self.predictions, self.examples, self.data)


@dataclass(frozen=True)
class Section:
    """A section of the page.

    title   its heading
    anchor  its id in the page
    markup  its HTML, escaped: `page.fragment` makes it of a template
    said    what is said of it at the top of the page: sentences
    """

    title: str
    anchor: str
    markup: Markup
    said: Sequence[str] = ()
