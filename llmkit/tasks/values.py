"""What tasks pass on: rows and what is wrong with them, tokenizers and labels, model outputs, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

IGNORED = -100  # the label of a position without a target, as in transformers

Array = np.ndarray[Any, np.dtype[Any]]

# What is kept of a model's outputs for one feature, by name.
Outputs = Mapping[str, Array]

# A row as it was read, after the place to name in an error: `train.jsonl:3`.
Placed = tuple[str, Any]


class BadRow(Exception):
    """A row that is not an example; the message says why."""


class NoLabel(BadRow):
    """A row that lacks only its label. Where every row does, the split has no labels."""


class NoColumn(BadRow):
    """A row that lacks a column that an option names. Where every row does, the option is wrong."""


@dataclass(frozen=True)
class Codec:
    """The tokenizers and labels of a model.

    `labels` are in the order of their numbers. `own_target_tokenizer` is set only where an encoder-decoder has two
    vocabularies. `decoder_start` is the token id that a decoder starts from.
    """

    tokenizer: PreTrainedTokenizerFast
    labels: tuple[str, ...] = ()
    own_target_tokenizer: PreTrainedTokenizerFast | None = None
    decoder_start: int | None = None

    @property
    def target_tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of the texts that the model writes."""
        return self.own_target_tokenizer or self.tokenizer


@dataclass(frozen=True)
class Candidate:
    """One possible answer. `score` is the model's logit, `probability` its share among the candidates.

    In a passage, `text` is `context[start:end]`; a label has no position.
    """

    text: str
    start: int | None
    end: int | None
    score: float
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for one example: a line of predictions.jsonl.

    `text` is an answer, a label, tags joined by spaces, or a generated text; it is empty where the model abstains.
    `score` is the probability of the answer among the candidates. `null_score` is the logit of abstaining minus that
    of the best candidate: the model abstains above the threshold. It is None where every question has an answer.
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


@dataclass(frozen=True)
class Published:
    """What a model's folder says about the model, for the example of its use on a model card.

    `name` is its repository; `config` is config.json; `data` is the recipe's data section, as plain values.
    """

    name: str
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    null_threshold: float | None
    has_decoder_tokenizer: bool


def by_id(predictions: Sequence[Prediction], examples: Dataset) -> list[Prediction | None]:
    """Each example's prediction, or None where there is none."""
    found = {prediction.id: prediction for prediction in predictions}
    return [found.get(example_id) for example_id in examples["id"][:]]
