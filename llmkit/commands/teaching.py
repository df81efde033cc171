"""What a fine-tuning run with a teacher has besides: the teacher, texts without gold answers, and another loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.errors import UserError
from llmkit.tasks.base import Task
from llmkit.tasks.examples import unlabelled_examples
from llmkit.tasks.features import examples_fingerprint, features_of
from llmkit.tasks.values import Codec
from llmkit.training.batches import Features, FeaturesAndMore

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.head import Loss
    from llmkit.tasks.teacher import Teacher

WEIGHT, TEMPERATURE = 0.5, 2.0  # as DistilBERT's authors distilled on SQuAD


@dataclass(frozen=True)
class Teaching:
    """A teacher, and the examples and features that have its outputs as their only targets; None if there are none."""

    task: Task[Any]
    recipe: FinetuneRecipe
    codec: Codec
    teacher: Teacher
    examples: Dataset | None
    features: Dataset | None

    def loss(self, own: Loss) -> Loss:
        """The loss with the teacher's part in it."""
        from llmkit.tasks.distillation import DistilledLoss

        assert self.task.head.divergence is not None
        return DistilledLoss(
            own,
            self.teacher,
            self.task.head.divergence,
            weight=self.weight,
            temperature=self.temperature,
            states=self.teacher.states,
        )

    def data(self, features: Dataset, ids: Any) -> Features:
        """What to train on: the task's features, and those without gold answers."""
        if self.features is None or self.examples is None:
            return Features(features, ids)
        assert self.task.head.unknown is not None
        target = partial(_target, self.task, self.codec)
        return FeaturesAndMore(features, ids, self.features, self.examples["id"], target)

    def lengths(self, lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The lengths of all features that are trained on."""
        return lengths if self.features is None else np.append(lengths, np.asarray(self.features["length"]))

    @property
    def weight(self) -> float:
        """The teacher's share of the loss."""
        given = self.recipe.model.teacher_weight
        return WEIGHT if given is None else given

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return self.recipe.model.teacher_temperature or TEMPERATURE

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the teacher's weights and of the examples: a resumed run must have the same."""
        more = {} if self.examples is None else {"unlabelled": examples_fingerprint(self.examples)}
        return {**more, "teacher": self.teacher.fingerprint}

    @property
    def sizes(self) -> dict[str, dict[str, int]]:
        """How many examples there are."""
        return {} if self.examples is None else {"unlabelled": {"examples": len(self.examples)}}

    def lines(self) -> Iterator[str]:
        """What to say of it before a run."""
        yield (
            f"teacher: {self.teacher}; its share of the loss is {self.weight:g}, at temperature {self.temperature:g}"
            + (", with its hidden states" if self.teacher.states else "")
        )
        if self.examples is not None:
            yield f"unlabelled: {len(self.examples):,} examples, of which the teacher's outputs are all that is learned"


def check_teaching(recipe: FinetuneRecipe, task: Task[Any]) -> None:
    """Raises UserError if a kind of task cannot learn what a recipe wants of a teacher. Reads no data."""
    if recipe.model.teacher is None:
        return
    if task.head.divergence is None:
        raise UserError(f"{task.name} learns from no teacher", remedy="leave model.teacher out")
    if recipe.data.unlabelled is not None and task.head.unknown is None:
        raise UserError(
            f"data.unlabelled: {task.name} cannot learn from examples without targets",
            remedy="write them with the teacher first (llmkit predict), and train on what it wrote",
        )


def teaching_of(
    recipe: FinetuneRecipe, task: Task[Any], codec: Codec, *, bf16: bool, unpadded: bool
) -> Teaching | None:
    """The teaching of a recipe; None if it names no teacher. Raises UserError.

    `unpadded` is whether the model to train computes without padding.
    """
    if recipe.model.teacher is None:
        return None
    from llmkit.tasks.teacher import teacher_of

    teacher, examples, features = teacher_of(recipe, task, codec, bf16=bf16, unpadded=unpadded), None, None
    if recipe.data.unlabelled is not None:
        examples = unlabelled_examples(task, recipe.data)
        features = features_of(task, examples, codec, recipe.data, training=False)
    return Teaching(task, recipe, codec, teacher, examples, features)


def _target(task: Task[Any], codec: Codec, row: Any) -> dict[str, Any]:
    """The target of a feature that has none. A function of the module, for data loader workers that are spawned."""
    assert task.head.unknown is not None
    return task.head.unknown(row, codec)
