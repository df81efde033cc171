"""Classification: a label for a text, or for a pair of texts. Regression is the same with a number.

An example, in its canonical columns; labels are text there, and numbers in features and models only:

    {"id": "3", "text": "the ship sails.", "pair": None, "label": "acceptable"}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.base import Task
from llmkit.tasks.examples import checked_text
from llmkit.tasks.label import labels as label_forms
from llmkit.tasks.label.sections import LabelData, LabelRecipe
from llmkit.tasks.values import Array, BadRow, Candidate, Codec, NoColumn, NoLabel, Outputs, Prediction, Published

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

    from llmkit.tasks.head import Head

N_BEST = 20  # candidates kept for an example
ENCODED_AT_ONCE = 1000  # examples


@dataclass(frozen=True)
class Classification(Task[LabelData]):
    """Texts, or pairs of texts, with one of several labels.

    `names` are the labels by number where they are fixed; else those that training examples show. F1 is that of the
    last of two labels. `parts` are what a split to evaluate on is made of, the one that the headline is of first.
    """

    metric: str = "accuracy"
    headline: tuple[str, ...] = ("accuracy",)
    pipeline_tag: str | None = "text-classification"
    text_column: str = "text"
    pair_column: str | None = None
    names: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    recipe_class: ClassVar[type[FinetuneRecipe]] = LabelRecipe
    labelled: ClassVar[bool] = True

    @property
    def head(self) -> Head:
        """See Task."""
        from llmkit.tasks.label.head import HEAD

        return HEAD

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return tuple(name for name in (self.text_column, self.pair_column, "label") if name is not None)

    def splits(self, split: str) -> tuple[str, ...]:
        """See Task."""
        return tuple(f"{split}_{part}" for part in self.parts if split in ("validation", "test")) or (split,)

    def example(self, row: Mapping[str, Any], data: LabelData, *, labelled: bool) -> dict[str, Any]:
        """See Task. One of the two texts of a pair may be empty: QQP has such questions."""
        text_column, pair_column = data.text_column or self.text_column, data.pair_column or self.pair_column
        label_column = data.label_column or "label"
        known = (text_column, pair_column, label_column)
        text = _text(row, text_column, "text_column", known)
        pair = _text(row, pair_column, "pair_column", known) if pair_column is not None else None
        if not text.strip() and not (pair or "").strip():
            raise BadRow(f"{text_column!r} is empty")
        if not labelled:
            return {"text": text, "pair": pair, "label": None}
        if label_column not in row:
            raise _no_column(row, label_column, "label_column", known)
        return {"text": text, "pair": pair, "label": self._label(row[label_column], label_column)}

    def _label(self, value: Any, column: str) -> str:
        label = checked_text(label_forms.label_text(value, column), column)
        return label_forms.name_of(label, self.names, column) if self.names else label

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, Value

        return Features({name: Value("string") for name in ("id", "text", "pair", "label")})

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """See Task. Raises UserError where training examples show one label only."""
        if examples is not None:
            label_forms.check_several(examples)
        return self.names or (label_forms.numbered(examples["label"][:]) if examples is not None else ())

    def encode(self, examples: Dataset, codec: Codec, data: LabelData, *, training: bool) -> Dataset:
        """One feature an example; `cut` says whether it was longer than max_length. Of a pair the longer text is cut.

        In training each has its `label`: a number that stands for it, or the number to learn.
        """
        from datasets import Dataset

        tokenizer = codec.tokenizer
        if tokenizer.cls_token_id is None or tokenizer.padding_side != "right":
            raise UserError(
                f"a {type(tokenizer).__name__} does not suit {self.name}: no [CLS] token, or padding on the left",
                remedy="use a BERT-like encoder",
            )
        # A copy, since truncation is a setting of the backend: the caller's tokenizer stays as it is.
        backend = deepcopy(tokenizer.backend_tokenizer)
        backend.no_padding()
        columns: dict[str, list[Any]] = {name: [] for name in ("input_ids", "token_type_ids", "length", "cut")}
        for start in range(0, len(examples), ENCODED_AT_ONCE):
            rows = examples[start : start + ENCODED_AT_ONCE]
            inputs = [
                text if pair is None else (text, pair) for text, pair in zip(rows["text"], rows["pair"], strict=True)
            ]
            backend.no_truncation()
            encodings = backend.encode_batch_fast(inputs)
            long = [number for number, encoding in enumerate(encodings) if len(encoding) > data.max_length]
            backend.enable_truncation(data.max_length, strategy="longest_first")
            for number, encoding in zip(long, backend.encode_batch_fast([inputs[n] for n in long]), strict=True):
                encodings[number] = encoding
            columns["input_ids"] += [np.array(encoding.ids, np.int32) for encoding in encodings]
            columns["token_type_ids"] += [np.array(encoding.type_ids, np.int8) for encoding in encodings]
            columns["length"] += [len(encoding) for encoding in encodings]
            columns["cut"] += np.isin(np.arange(len(encodings)), long).tolist()
        columns["example"] = list(range(len(examples)))
        if training:
            number_of = self._number_of(codec)
            columns["label"] = [number_of(label) for label in examples["label"][:]]
        return Dataset.from_dict(columns)

    def _number_of(self, codec: Codec) -> Callable[[str], float]:
        return {label: number for number, label in enumerate(codec.labels)}.__getitem__

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: LabelData,
        *,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """See Task; outputs are `logits`, one a label."""
        ids = examples["id"][:]
        return [
            self._prediction(ids[owner], output["logits"], codec)
            for output, owner in zip(outputs, features["example"][:], strict=True)
        ]

    def _prediction(self, example_id: str, logits: Array, codec: Codec) -> Prediction:
        shares = np.exp(logits.astype(np.float64) - logits.max())
        shares /= shares.sum()
        candidates = tuple(
            Candidate(codec.labels[n], None, None, float(logits[n]), float(shares[n]))
            for n in np.argsort(-logits, kind="stable")[:N_BEST]
        )
        return Prediction(example_id, candidates[0].text, candidates[0].probability, candidates=candidates)

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Any]:
        """See Task. Raises UserError where no prediction is a label of the examples."""
        from llmkit.tasks.label.scores import label_scores

        return label_scores(predictions, examples, self.headline, self.names)

    def check_known(self, name: str, codec: Codec, examples: Dataset) -> None:
        """See Task."""
        if len(codec.labels) > 1:
            label_forms.check_known(name, codec.labels, examples)

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: the shares of the labels, and labels of validation examples that training never shows."""
        train, validation = examples["train"], examples["validation"]
        yield False, label_forms.shares(train)
        if unknown := label_forms.strangers(validation, train["label"][:], "the training examples never show"):
            yield True, f"validation: {unknown}"

    def usage_example(self, model: Published) -> str:
        """See Task."""
        from llmkit.tasks.label.usage import usage_example

        return usage_example(model)


@dataclass(frozen=True)
class Regression(Classification):
    """Texts, or pairs of texts, with a number; it is text in canonical columns and predictions."""

    names: tuple[str, ...] = ("score",)  # of the only output

    def _label(self, value: Any, column: str) -> str:
        if value is None or value == "":
            raise NoLabel(f"{column!r} is empty")
        try:
            number = float("nan" if isinstance(value, bool) else value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise BadRow(f"{column!r} is not a number: {value!r}")
        if number == -1:
            raise NoLabel(f"{column!r} is -1, which stands for one that is kept secret")
        return as_text(number)

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """See Task: the name of its only output."""
        return self.names

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: there are no labels to count."""
        return iter(())

    def _number_of(self, codec: Codec) -> Callable[[str], float]:
        return float

    def _prediction(self, example_id: str, logits: Array, codec: Codec) -> Prediction:
        return Prediction(example_id, as_text(logits[0]), 1.0)

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Any]:
        """See Task. Raises UserError where a prediction is no number."""
        from llmkit.tasks.label.scores import number_scores

        return number_scores(predictions, examples)


def as_text(number: float) -> str:
    """A number in single precision, in the shortest form that reads back as itself."""
    return str(np.float32(number))


def _text(row: Mapping[str, Any], name: str, option: str, known: Sequence[str | None]) -> str:
    if row.get(name) is None:
        raise _no_column(row, name, option, known)
    if not isinstance(row[name], str):
        raise BadRow(f"{name!r} is not text; data.{option} names another column")
    return checked_text(row[name], name)


def _no_column(row: Mapping[str, Any], name: str, option: str, known: Sequence[str | None]) -> NoColumn:
    near = did_you_mean(name, [key for key in row if key not in known])
    return NoColumn(f"no {name!r}{near}; data.{option} names another column: there are {', '.join(map(str, row))}")
