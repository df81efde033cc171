"""What a kind of task says so that a prediction can be explained: one number, and where its input is in the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from llmkit.system.errors import UserError
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from torch import Tensor

    from llmkit.models.collator import Batch


@dataclass(frozen=True)
class Typed:
    """An input that the user typed: a question on a passage, or a text and perhaps a second one."""

    question: str | None = None
    context: str | None = None
    text: str | None = None
    pair: str | None = None

    @property
    def given(self) -> set[str]:
        """The names of what was typed."""
        return {field.name for field in fields(self) if getattr(self, field.name) is not None}


@dataclass(frozen=True)
class Wanted:
    """What the user wants explained instead of the prediction.

    `label` is a label or tag. `word` is the word whose tag is meant, or its number, counted from 1.
    """

    label: str | None = None
    word: str | None = None

    def check(self, task: str, *, label: bool = False, word: bool = False) -> None:
        """Raises UserError for a choice that a kind of task does not have."""
        for option, given, possible in (("--label", self.label, label), ("--word", self.word, word)):
            if given is not None and not possible:
                raise UserError(f"{option} has no effect on {task}", remedy="leave it out")


class Place(NamedTuple):
    """The characters [start, end) of the text with this number."""

    text: int
    start: int
    end: int


@dataclass(frozen=True)
class Explained:
    """A number that the model computes from one input, and the texts that the input was made of.

    feature  the input: `input_ids`, `length` and, if the tokenizer gives them, `token_type_ids`
    number   the head's outputs, tensors [B, …] → the number, [B]
    what     the number in words: `the logit of "spam"`
    answer   what was predicted, or what the user wants explained
    texts    (name, text) of each text, as the user gave it
    places   [tokens, 3], for each token a Place; -1 for tokens that are in no text
    own      the place of the answer itself, if it is a part of a text
    """

    feature: Mapping[str, Any]
    number: Callable[[Batch], Tensor]
    what: str
    answer: str
    texts: tuple[tuple[str, str], ...]
    places: Array
    own: Place | None = None
