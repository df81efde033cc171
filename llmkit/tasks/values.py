"""Values shared by all tasks: rows and row errors, tokenizers and labels, model outputs, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from llmkit.system.run_folder import Threshold

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

IGNORED = -100  # the label of a position without a target: transformers' ignore_index

Array = np.ndarray[Any, np.dtype[Any]]

# One feature's model outputs, by name.
Outputs = Mapping[str, Array]

# A row, preceded by its place for error messages: `train.jsonl:3`.
LocatedRow = tuple[str, Any]


class BadRow(Exception):
    """An invalid row; the message says why."""


class MissingLabel(BadRow):
    """A row that lacks only its label. If every row does, the split is unlabelled."""


class MissingColumn(BadRow):
    """A row without a column that an option names. If every row lacks it, the option is wrong."""


@dataclass(frozen=True)
class Codec:
    """The tokenizers and labels of a model.

    `labels` are in index order. `own_target_tokenizer` is set only if the decoder has a vocabulary of its own.
    `decoder_start` is the token id that the decoder starts from. `standard` is the mean and the standard deviation of
    the numbers that regression trains on.
    """

    tokenizer: PreTrainedTokenizerFast
    labels: tuple[str, ...] = ()
    own_target_tokenizer: PreTrainedTokenizerFast | None = None
    decoder_start: int | None = None
    standard: tuple[float, float] = (0.0, 1.0)

    @property
    def target_tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of generated texts."""
        return self.own_target_tokenizer or self.tokenizer


class Candidate(NamedTuple):  # not a dataclass: there are twenty to a question, and these are made in half the time
    """One possible answer. `score` is its logit; `probability` is the softmax over all candidates.

    If it is a span, `text` is `context[start:end]`; a label has no position.
    """

    text: str
    start: int | None
    end: int | None
    score: float
    probability: float


CANDIDATE = ("text", "start", "end", "score", "probability")  # the fields of one, in order


@dataclass(frozen=True)
class Mention:
    """An entity in a text: `text` is the text's characters `start` to `end`, and its words `start_word` to `end_word`.

    Both ends are exclusive. `score` is the mean probability of its words' tags.
    """

    type: str
    text: str
    start: int
    end: int
    start_word: int
    end_word: int
    score: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for one example: a line of predictions.jsonl.

    `text` is an answer, a label, a number, tags joined by spaces, or a generated text; it is empty if the model
    abstains. `score` is the model's confidence in `text`, from 0 to 1; always 1 for a number. `null_score` is the logit
    of abstaining minus that of the best candidate: the model abstains if it exceeds the threshold. It is None if every
    question has an answer.
    `entities` are those that the tags mark, and `tags` the probable tags of each word with their probabilities; both
    are None for tasks without tags, and `tags` for predictions of an older llmkit.
    `in_a_text` says that answers of its kind are spans of a text, also where this one has neither span nor candidate;
    files do not say it.
    """

    id: str
    text: str
    score: float
    start: int | None = None
    end: int | None = None
    null_score: float | None = None
    candidates: tuple[Candidate, ...] = ()
    entities: tuple[Mention, ...] | None = None
    tags: tuple[Mapping[str, float], ...] | None = None
    in_a_text: bool = field(default=False, compare=False)

    def as_row(self) -> dict[str, Any]:
        """A dict of plain values, for JSON, with the keys that its kind has: places only if answers are spans, for
        instance, where they are None if the model abstains."""
        row: dict[str, Any] = {"id": self.id, "text": self.text, "score": self.score}
        places = (self.start, self.null_score, *(candidate.start for candidate in self.candidates))
        in_a_text = self.in_a_text or any(each is not None for each in places)
        if in_a_text:
            row |= {"start": self.start, "end": self.end}
        if self.null_score is not None:
            row["null_score"] = self.null_score
        if self.candidates or self.in_a_text:
            keys = [name for name in CANDIDATE if in_a_text or name not in ("start", "end")]
            row["candidates"] = [{name: getattr(each, name) for name in keys} for each in self.candidates]
        if self.entities is not None:
            row["entities"] = [asdict(mention) for mention in self.entities]
        if self.tags is not None:
            row["tags"] = self.tags
        return row


@dataclass(frozen=True)
class Published:
    """What a model card's usage example needs to know about the model.

    `name` is its repository, `config` its config.json, `data` the recipe's data section as plain values.
    """

    name: str
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    null_threshold: Threshold | None
    has_decoder_tokenizer: bool


def softmax(logits: Array) -> Array:
    """Probabilities in float64, along the last axis."""
    exponentials: Array = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    exponentials /= exponentials.sum(axis=-1, keepdims=True)
    return exponentials


def by_id(predictions: Sequence[Prediction], examples: Dataset) -> list[Prediction | None]:
    """The prediction for each example, matched by id; None if there is none."""
    found = {prediction.id: prediction for prediction in predictions}
    return [found.get(example_id) for example_id in examples["id"][:]]
