"""What a task is: examples → features → model outputs → answers → scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerFast

    from llmkit.recipe import DataSection

# The outputs of one feature: name → array over its tokens.
Outputs = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


@dataclass(frozen=True)
class Candidate:
    """One possible answer: `text` is `context[start:end]`; `score` the model's logit, `probability` its
    share among the candidates."""

    text: str
    start: int
    end: int
    score: float
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answer to one example, as a line of predictions.jsonl.

    `text` is empty where the model abstains. `score` is the answer's probability among the candidates.
    `null_score` is the logit of abstaining minus that of the best candidate: above the threshold, the model
    abstains; None for tasks where every question has an answer.
    """

    id: str
    text: str
    score: float
    start: int | None = None
    end: int | None = None
    null_score: float | None = None
    candidates: tuple[Candidate, ...] = ()

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Task(Protocol):
    """The protocol that fine-tuning, evaluation and prediction are written against."""

    @property
    def name(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def title(self) -> str:
        """One line that says what it is."""
        ...

    @property
    def recipe(self) -> str:
        """The recipe that is used where none is named."""
        ...

    @property
    def head(self) -> Literal["span"]:
        """The model head it needs."""
        ...

    @property
    def metric(self) -> str:
        """The score that picks the best checkpoint; higher is better."""
        ...

    @property
    def headline(self) -> tuple[str, ...]:
        """The scores that are shown on the way; the metric is among them."""
        ...

    def load(self, data: DataSection, splits: Sequence[str]) -> DatasetDict:
        """Checked examples in canonical columns, each with a unique id. Raises UserError."""
        ...

    def encode(
        self, examples: Dataset, tokenizer: PreTrainedTokenizerFast, data: DataSection, *, training: bool
    ) -> Dataset:
        """Features, one or more an example; each has input_ids, length and example (its row). Raises UserError."""
        ...

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        data: DataSection,
        *,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """One prediction an example, in the order of the examples. `outputs` are in the order of features.

        `threshold` is the null score above which a task that knows null answers abstains.
        """
        ...

    def score(self, predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Any]:
        """The task's official scores, in percent."""
        ...
