"""Regression of texts or pairs of texts: a number instead of a label.

In canonical columns and in predictions the number is text.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.label.task import Classification
from llmkit.tasks.values import Array, BadRow, Codec, MissingLabel, Outputs, Prediction

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedModel

    from llmkit.models.checkpoint import Checkpoint
    from llmkit.recipes.finetuning import FinetuneRecipe
    from llmkit.tasks.editor import Editor
    from llmkit.tasks.explained import Explained, Wanted
    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review
    from llmkit.tasks.served import Served

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Regression(Classification):
    """Texts or pairs of texts, each with a number of any size: training standardizes them.

    R² selects the best checkpoint. It orders checkpoints as the mean squared error does.
    """

    metric: str = "r2"
    headline: tuple[str, ...] = ("pearson", "spearmanr", "r2")
    names: tuple[str, ...] = ("score",)  # the name of the only output
    label_columns: tuple[str, ...] = ("label", "score")

    has_classes: ClassVar[bool] = False
    score_unit: ClassVar[str] = "in percent; `mse` is in squared units of the numbers"

    def _label(self, value: Any, column: str) -> str:
        return number_text(value, column)

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """See Task: the name of the only output. Raises UserError if all training examples have the same number."""
        if examples is not None and len(set(examples["label"][:])) < 2:
            raise UserError(
                f"every one of the {len(examples):,} training examples has the number {examples['label'][0]}",
                remedy="give examples with other numbers too, or choose another column with data.label_column",
            )
        return self.names

    def _standard(self, train: Dataset) -> tuple[float, float]:
        """The mean and standard deviation to train with."""
        numbers = _numbers(train)
        return float(numbers.mean()), float(numbers.std())

    def codec_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, train: Dataset) -> Codec:
        """See Task. Raises UserError for a checkpoint to resume from."""
        if checkpoint is not None:
            _check_finished(checkpoint)
        return replace(super().codec_to_train(recipe, checkpoint, train), standard=self._standard(train))

    def model_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, codec: Codec) -> PreTrainedModel:
        """See Task. Raises UserError if the model has no output layer with a bias."""
        from llmkit.tasks.encoder_models import model_to_train
        from llmkit.tasks.label.standardize import standardize

        model, kept = model_to_train(self, recipe, checkpoint, codec)
        standardize(model, *codec.standard, trained=kept)
        return model

    def finalize(self, model: PreTrainedModel) -> None:
        """See Task."""
        from llmkit.tasks.label.standardize import unstandardize

        unstandardize(model)

    def load_trained(self, checkpoint: Checkpoint, data: LabelData) -> tuple[PreTrainedModel, Codec]:
        """See Task. Raises UserError for a checkpoint to resume from."""
        from llmkit.tasks.label.standardize import standardize

        _check_finished(checkpoint)
        model, codec = super().load_trained(checkpoint, data)
        standardize(model, *codec.standard)  # the same numbers as in training, to the last digit
        return model, codec

    def served(self, data: LabelData) -> Served:
        """See Task."""
        from llmkit.tasks.label.served import served_number

        return served_number(*self._read_from(data))

    def check_labels(self, name: str, codec: Codec, examples: Dataset) -> None:
        """See Task: nothing, since there are no labels to compare."""

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: `numbers from 0.2 to 5, mean 2.7, standard deviation 1.3`."""
        numbers = _numbers(examples["train"])
        low, high, mean, deviation = map(_short, (numbers.min(), numbers.max(), numbers.mean(), numbers.std()))
        yield False, f"numbers from {low} to {high}, mean {mean}, standard deviation {deviation}"
        if len(set(examples["validation"]["label"])) < 2:
            yield True, "validation: all numbers are the same, so neither correlations nor R² say anything"

    def _number_of(self, codec: Codec) -> Callable[[str], float]:
        mean, deviation = codec.standard
        return lambda label: (float(label) - mean) / deviation

    def _prediction(self, example_id: str, logits: Array, codec: Codec) -> Prediction:
        return Prediction(example_id, as_text(logits[0]), 1.0)

    def explained(
        self,
        example: Mapping[str, Any],
        inputs: Sequence[tuple[Mapping[str, Any], Outputs]],
        prediction: Prediction,
        codec: Codec,
        data: LabelData,
        wanted: Wanted,
    ) -> Explained:
        """See Task: the number itself."""
        from llmkit.tasks.label.explained import explained_number

        wanted.check(self.name)
        return explained_number(self.name, example, inputs[0], codec, data.max_length, prediction.text)

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Any]:
        """See Task: the headline scores and `mse`. A missing prediction counts as the mean of the gold numbers.

        Raises UserError if a prediction is not a number.
        """
        from llmkit.tasks.label.scores import number_scores

        mean = float(_numbers(examples).mean())
        return number_scores(predictions, examples, dict.fromkeys([*self.headline, "mse"]), missing=mean)

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Measured]:
        """See Task."""
        from llmkit.tasks.label.scores import number_measures

        mean = float(_numbers(examples).mean())
        return number_measures(predictions, examples, dict.fromkeys([*self.headline, "mse"]), missing=mean)

    def correct(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> None:
        """See Task: a number is near or far."""

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> Review:
        """See Task."""
        from llmkit.tasks.label.review import NumberReview

        return NumberReview(self, predictions, examples, data)

    @property
    def editor(self) -> Editor:
        """See Task."""
        from llmkit.tasks.label.edited import NumberEditor

        return NumberEditor()

    def score_rows(self, scores: Mapping[str, Any]) -> list[list[str]]:
        """See Task. The mean squared error is not in percent, and says so."""
        rows = [row for row in super().score_rows(scores) if row[0] != "mse"]
        if "mse" in scores:
            low, high = map(_short, scores["mse_interval"])
            rows.append(["mse (not percent)", _short(scores["mse"]), f"{low} to {high}"])
        return rows


def _check_finished(checkpoint: Checkpoint) -> None:
    """Raises UserError for a checkpoint in the checkpoints/ of a run: it is in training, and outputs no user's unit."""
    path = Path(checkpoint.path).absolute()
    run = RunDir(path.parent.parent)
    if path.parent == run.checkpoints and (run.path / "recipe.yaml").is_file():
        raise UserError(
            f"{checkpoint.name} is for --resume: in training, a model outputs standardized numbers, not your own",
            remedy=f"name the run, {Path(checkpoint.name).parent.parent}, or finish it first with --resume",
        )


def number_text(value: Any, column: str) -> str:
    """The number in a row's column, as text. Raises MissingLabel or BadRow."""
    blank = isinstance(value, str) and not value.strip()
    if value is None or blank or (isinstance(value, float) and math.isnan(value)):
        raise MissingLabel(f"{column!r} is empty")
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        number = math.nan
    except OverflowError:  # a whole number of hundreds of digits
        number = sys.float_info.max
    if not math.isfinite(number):
        raise BadRow(f"{column!r} is not a number: {value!r}")
    if abs(number) > _LARGEST:
        raise BadRow(f"{column!r} is too large: numbers go up to {_LARGEST:.1e}")
    return as_text(number)


def as_text(number: float) -> str:
    """The shortest text that reads back as the same float32 number, without an exponent."""
    return np.format_float_positional(np.float32(number), trim="0")


def _short(number: float) -> str:
    """A number with four digits that matter, for people."""
    return np.format_float_positional(number, precision=4, fractional=False, trim="-")


def _numbers(examples: Dataset) -> Array:
    return np.array([float(label) for label in examples["label"][:]])
