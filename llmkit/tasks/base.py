"""What a task is: rows → examples → features → model outputs → answers → scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset, Features
    from transformers import PreTrainedTokenizerFast

    from llmkit.recipes.finetuning import Head

IGNORED = -100  # the label of what has no target, as transformers has it

# The outputs of one feature, by name: arrays, or for texts what was written.
Outputs = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

# One row as it was read, and the place to name when something is wrong with it.
Placed = tuple[str, Any]

# The task's section of data: SpanData, LabelData, …
D = TypeVar("D", contravariant=True)


class BadRow(Exception):
    """A row is no example; the message says why."""


class NoLabel(BadRow):
    """A row lacks what is to be predicted, and nothing else. Where all do, that is said of the split."""


class NoColumn(BadRow):
    """A row lacks a column that an option names. Where all do, it is the option that is to be corrected."""


@dataclass(frozen=True)
class Codec:
    """What a model reads and writes with: its tokenizer, that of its targets, and its labels by number.

    `target_tokenizer` is another one only where an encoder-decoder has two vocabularies. `decoder_start` is the token
    that its targets are written after.
    """

    tokenizer: PreTrainedTokenizerFast
    labels: tuple[str, ...] = ()
    own_target_tokenizer: PreTrainedTokenizerFast | None = None
    decoder_start: int | None = None

    @property
    def target_tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of what the model writes."""
        return self.own_target_tokenizer or self.tokenizer


@dataclass(frozen=True)
class Candidate:
    """One possible answer. `score` is the model's logit, `probability` its share among the candidates.

    Of a passage, `text` is `context[start:end]`; a label has no place.
    """

    text: str
    start: int | None
    end: int | None
    score: float
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answer to one example, as a line of predictions.jsonl.

    `text` is an answer, a label, tags with spaces between them, or a text that was written. It is empty where the
    model abstains. `score` is the answer's probability among the candidates. `null_score` is the logit of abstaining
    minus that of the best candidate: above the threshold, the model abstains; None for tasks where every question has
    an answer.
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


class Task(Protocol[D]):
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
    def hub_id(self) -> str | None:
        """Its data set on the Hub; None where there is no usual one."""
        ...

    @property
    def hub_name(self) -> str | None:
        """The configuration of that data set."""
        ...

    @property
    def hub_revision(self) -> str | None:
        """The revision of that data set, where its main one cannot be read."""
        ...

    @property
    def recipe(self) -> str:
        """The recipe that is used where none is named."""
        ...

    @property
    def head(self) -> Head:
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

    @property
    def item(self) -> str:
        """What an example is called: `question`, `sentence`."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a row, for the message where one is missing or mistyped."""
        ...

    def splits(self, split: str) -> tuple[str, ...]:
        """The splits of its data set that make up one of ours; all but a few name themselves."""
        ...

    def expand(self, place: str, row: Any) -> Iterator[Placed]:
        """The rows inside a row, where files nest them; else the row itself. Raises BadRow."""
        ...

    def example(self, row: Mapping[str, Any], data: D, *, labelled: bool) -> dict[str, Any]:
        """A row in the canonical columns, without its id. Raises BadRow for what is not as it should be.

        Without `labelled`, what is to be predicted may be missing.
        """
        ...

    def schema(self) -> Features:
        """Types of the canonical columns, `id` among them."""
        ...

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """The labels by number, as training examples show them, or without these those that are fixed.

        None where the task has no labels.
        """
        ...

    def encode(self, examples: Dataset, codec: Codec, data: D, *, training: bool) -> Dataset:
        """Features, one or more an example; each has input_ids, length and example (its row). Raises UserError.

        In training they have targets too.
        """
        ...

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: D,
        *,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """One prediction an example, in the order of the examples. `outputs` are in the order of features.

        `threshold` is the null score above which a task that knows null answers abstains.
        """
        ...

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: D) -> dict[str, Any]:
        """The task's official scores, in percent; `total` counts the examples.

        An example without a prediction scores 0.
        """
        ...


def by_id(predictions: Sequence[Prediction], examples: Dataset) -> list[Prediction | None]:
    """Each example's prediction, or None where there is none."""
    found = {prediction.id: prediction for prediction in predictions}
    return [found.get(example_id) for example_id in examples["id"][:]]
