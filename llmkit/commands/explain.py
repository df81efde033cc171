"""`llmkit explain`: which words of an input carry the answer, and whether taking them away moves the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.evidence import checked
from llmkit.evidence.attribution import Gradients
from llmkit.evidence.checked import Checked
from llmkit.evidence.deletion import ORDERS
from llmkit.evidence.explanation import Explanation, gradients_of
from llmkit.evidence.explanation import explain as explain_number
from llmkit.evidence.units import Unit
from llmkit.models.onnx import MODEL as ONNX
from llmkit.system import gpu
from llmkit.system.errors import UserError
from llmkit.system.extras import need
from llmkit.system.machine import keep_memory, quiet
from llmkit.system.processes import start_group
from llmkit.system.progress import Progress
from llmkit.tasks.columns import Columns
from llmkit.tasks.examples import load_examples
from llmkit.tasks.explained import Explained, Typed, Wanted
from llmkit.tasks.inference import outputs_of
from llmkit.tasks.purpose import purpose_of
from llmkit.tasks.settings import Settings, settings_of
from llmkit.tasks.values import Codec, Prediction

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

PACKAGES = ("captum", "jinja2", "matplotlib")


@dataclass(frozen=True)
class Answer:
    """A prediction with its explanation."""

    prediction: Prediction
    explanation: Explanation

    @property
    def score(self) -> float:
        """The probability of what is explained, which need not be what was predicted."""
        asked, predicted = self.explanation.explained.answer, self.prediction
        others = (found.probability for found in predicted.candidates if found.text == asked != predicted.text)
        return next(others, predicted.score)

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"id": self.prediction.id, "score": self.score, **self.explanation.as_row()}


def explain_typed(model: str, typed: Typed, wanted: Wanted, task: str | None, overrides: Sequence[str] = ()) -> Answer:
    """Explain the prediction for an input that the user typed. Raises UserError."""
    if task is None and typed.question is not None and purpose_of(model) is None:
        task = "squad"
    settings = settings_of(model, task, "what was typed", overrides)
    _check(settings)
    example = settings.task.typed_example(typed, settings.data)
    one = Columns({name: [value] for name, value in {**example, "id": "typed"}.items()})
    return Explainer(settings).answer(one, wanted)


def explain_row(settings: Settings, split: str, example_id: str, wanted: Wanted) -> Answer:
    """Explain the prediction for an example of a split. Raises UserError."""
    _check(settings)
    quiet()
    task = settings.task
    examples = load_examples(task, settings.data, [split], labelled=False)[split]
    ids = examples["id"][:]
    if example_id not in ids:
        raise UserError(
            f"no {task.item} of the {split} split has the id {example_id!r}",
            remedy="take one from predictions.jsonl; rows without an id are numbered from 0",
        )
    return Explainer(settings).answer(examples.select([ids.index(example_id)]), wanted)


def check(settings: Settings, split: str, size: int, wanted: Wanted) -> Checked:
    """Explain the predictions for `size` examples of a split, drawn at random, always the same. Raises UserError."""
    _check(settings)
    quiet()
    examples = load_examples(settings.task, settings.data, [split], labelled=False)[split]
    if size < len(examples):
        examples = examples.select(sorted(np.random.default_rng(0).permutation(len(examples))[:size].tolist()))
    explainer = Explainer(settings)
    predictions, inputs = explainer.read(examples)
    found = []
    with Progress("explaining") as progress:
        for example, prediction, its in zip(examples, predictions, inputs, strict=True):
            found.append(explainer.explanation(example, its, prediction, wanted, orders=checked.ORDERS))
            told = f"{len(found):,} of {len(examples):,} {settings.task.item}s"
            progress({"": told}, len(found) / len(examples))
    return Checked(tuple(examples["id"][:]), tuple(found))


def _check(settings: Settings) -> None:
    need("explain", PACKAGES)
    if settings.task.unexplained is not None:
        raise UserError(
            f"a prediction of {settings.task.name} cannot be explained: {settings.task.unexplained}",
            remedy="explain a model of questions, labels, numbers or tags",
        )


class Explainer:
    """A model that is used in float32, so that attributions add up, and with its padding, which is none in one row."""

    def __init__(self, settings: Settings) -> None:
        quiet()
        keep_memory()
        gpu.set_up(False)
        self._task, self._data, self._threshold = settings.task, settings.data, settings.threshold
        model, self._codec = _load(settings)
        self._model: PreTrainedModel = model.to(start_group()).eval().requires_grad_(False)

    def read(self, examples: Dataset | Columns) -> tuple[list[Prediction], list[list[tuple[Any, Any]]]]:
        """A prediction per example, and its features with their outputs."""
        task, codec, data = self._task, self._codec, self._data
        features = task.encode(examples, codec, data, training=False)
        outputs = outputs_of(self._model, task.head, features, codec, None, bf16=False, advance=lambda *_: None)
        assert outputs is not None
        predictions = task.decode(outputs, features, examples, codec, data, threshold=self._threshold)
        inputs: list[list[tuple[Any, Any]]] = [[] for _ in predictions]
        for number, owner in enumerate(features["example"][:]):
            inputs[owner].append((features[number], outputs[number]))
        return predictions, inputs

    def explanation(
        self, example: Any, inputs: list[tuple[Any, Any]], prediction: Prediction, wanted: Wanted, *, orders: int
    ) -> Explanation:
        """Explain the prediction for one example."""
        explained = self._task.explained(example, inputs, prediction, self._codec, self._data, wanted)
        return explain_number(self._model, self._task.head, explained, self._codec.tokenizer, orders=orders)

    def weights(self, examples: Columns, wanted: Wanted) -> tuple[Explained, Sequence[Unit], Gradients]:
        """What explains the prediction for the only example, and the weights of its words by integrated gradients."""
        (prediction,), (inputs,) = self.read(examples)
        explained = self._task.explained(examples[0], inputs, prediction, self._codec, self._data, wanted)
        units, gradients = gradients_of(self._model, self._task.head, explained, self._codec.tokenizer)
        return explained, units, gradients

    def answer(self, examples: Dataset | Columns, wanted: Wanted) -> Answer:
        """Explain the prediction for the only example."""
        (prediction,), (inputs,) = self.read(examples)
        return Answer(prediction, self.explanation(examples[0], inputs, prediction, wanted, orders=ORDERS))


def _load(settings: Settings) -> tuple[PreTrainedModel, Codec]:
    try:
        return settings.task.load_trained(settings.checkpoint, settings.data)
    except UserError as error:
        if settings.checkpoint.file(ONNX) is None:
            raise
        raise UserError(
            f"{settings.checkpoint.name} is an ONNX export, which has no gradients",
            remedy="explain the run or the checkpoint that it was exported from",
        ) from error
