"""Classification of texts or pairs of texts.

An example in canonical columns. Labels are text; only features and models use label numbers:

    {"id": "3", "text": "the ship sails.", "pair": None, "label": "acceptable"}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.tasks.base import Task
from llmkit.tasks.class_weights import weights_of
from llmkit.tasks.examples import checked_text, first_in, is_missing, missing_column
from llmkit.tasks.label import labels as label_forms
from llmkit.tasks.label.sections import LabelData, LabelRecipe
from llmkit.tasks.on_disk import held_like
from llmkit.tasks.tokenizing import backend_copy
from llmkit.tasks.values import (
    Array,
    BadRow,
    Candidate,
    Codec,
    MissingColumn,
    Outputs,
    Prediction,
    Published,
    softmax,
)

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

    from llmkit.tasks.editor import Editor
    from llmkit.tasks.explained import Explained, Typed, Wanted
    from llmkit.tasks.head import Head, Loss
    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review
    from llmkit.tasks.served import Served

N_BEST = 50  # candidates kept per example: all labels of most data sets, which calibration asks for
ENCODED_AT_ONCE = 1000  # examples


@dataclass(frozen=True)
class Classification(Task[LabelData]):
    """Texts or pairs of texts, each with one of several labels.

    `names` are the fixed labels in index order; if empty, labels are taken from the training examples. F1 is that of
    the second label. `parts` are the parts of the validation and test splits: headline scores are of the first.
    `label_columns` are the columns of the label, the usual one first.
    """

    metric: str = "accuracy"
    headline: tuple[str, ...] = ("accuracy",)
    pipeline_tag: str | None = "text-classification"
    text_column: str = "text"
    pair_column: str | None = None
    label_columns: tuple[str, ...] = ("label",)
    names: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    recipe_class: ClassVar[type[FinetuneRecipe]] = LabelRecipe
    unexplained: ClassVar[str | None] = None
    labelled: ClassVar[bool] = True
    has_classes: ClassVar[bool] = True  # which train.class_weights are for

    @property
    def head(self) -> Head:
        """See Task."""
        from llmkit.tasks.label.head import HEAD

        return HEAD

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return tuple(name for name in (self.text_column, self.pair_column, *self.label_columns[:1]) if name is not None)

    def splits(self, split: str) -> tuple[str, ...]:
        """See Task."""
        return tuple(f"{split}_{part}" for part in self.parts if split in ("validation", "test")) or (split,)

    def example(self, row: Mapping[str, Any], data: LabelData, *, labelled: bool) -> dict[str, Any]:
        """See Task. One text of a pair may be empty, as in QQP."""
        text_column, pair_column = self._read_from(data)
        label_column = data.label_column or first_in(row, self.label_columns)
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
        """See Task. Raises UserError if all training examples have the same label."""
        if examples is not None:
            label_forms.check_several(examples)
        return self.names or (label_forms.in_order(examples["label"][:]) if examples is not None else ())

    def loss(self, recipe: FinetuneRecipe, codec: Codec, train: Dataset) -> Loss:
        """See Task. Raises UserError for weights of labels that there are not."""
        import torch

        from llmkit.tasks.head import WeightedLoss

        if not isinstance(recipe, LabelRecipe) or recipe.train.class_weights is None:
            return self.head.loss
        counts = Counter(train["label"][:])
        return WeightedLoss(torch.tensor(weights_of(recipe.train.class_weights, codec.labels, counts, {})))

    def encode(self, examples: Dataset, codec: Codec, data: LabelData, *, training: bool) -> Dataset:
        """One feature per example. `cut` says whether it was longer than max_length; of a pair, the longer text is cut.

        It is cut at its end, or at its start where the tokenizer's `truncation_side` says so.

        For training, `label` is the label's index, or the standardized gold number in regression.
        """
        backend = backend_copy(codec.tokenizer, "cls_token_id", self.name)
        number_of = self._number_of(codec) if training else None

        def features() -> Iterator[dict[str, Any]]:
            for start in range(0, len(examples), ENCODED_AT_ONCE):
                rows = examples[start : start + ENCODED_AT_ONCE]
                inputs = [
                    text if pair is None else (text, pair)
                    for text, pair in zip(rows["text"], rows["pair"], strict=True)
                ]
                backend.no_truncation()
                encodings = backend.encode_batch_fast(inputs)
                long = [number for number, encoding in enumerate(encodings) if len(encoding) > data.max_length]
                side = codec.tokenizer.truncation_side
                backend.enable_truncation(data.max_length, strategy="longest_first", direction=side)
                for number, encoding in zip(long, backend.encode_batch_fast([inputs[n] for n in long]), strict=True):
                    encodings[number] = encoding
                yield {
                    "input_ids": [np.array(encoding.ids, np.int32) for encoding in encodings],
                    "token_type_ids": [np.array(encoding.type_ids, np.int8) for encoding in encodings],
                    "length": [len(encoding) for encoding in encodings],
                    "cut": np.isin(np.arange(len(encodings)), long).tolist(),
                    "example": list(range(start, start + len(encodings))),
                    **({"label": [number_of(label) for label in rows["label"]]} if number_of else {}),
                }

        return held_like(examples, features())

    def _number_of(self, codec: Codec) -> Callable[[str], Any]:
        return {label: number for number, label in enumerate(codec.labels)}.__getitem__

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: LabelData,
        *,
        threshold: Any = None,
    ) -> list[Prediction]:
        """See Task. Outputs are `logits`, [labels]."""
        ids = examples["id"][:]
        return [
            self._prediction(ids[owner], output["logits"], codec)
            for output, owner in zip(outputs, features["example"][:], strict=True)
        ]

    def _prediction(self, example_id: str, logits: Array, codec: Codec) -> Prediction:
        probabilities = softmax(logits)
        candidates = tuple(
            Candidate(codec.labels[n], None, None, float(logits[n]), float(probabilities[n]))
            for n in np.argsort(-logits, kind="stable")[:N_BEST]
        )
        return Prediction(example_id, candidates[0].text, candidates[0].probability, candidates=candidates)

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Any]:
        """See Task. Raises UserError if labels are fixed and no prediction is one of them."""
        from llmkit.tasks.label.scores import label_scores

        return label_scores(predictions, examples, self.headline, self.names)

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Measured]:
        """See Task."""
        from llmkit.tasks.label.scores import label_measures

        return label_measures(predictions, examples, self.headline, self.names)

    def correct(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> Array | None:
        """See Task."""
        from llmkit.tasks.label.scores import labels_of

        found = labels_of(predictions, examples, self.names)
        return np.array([ours == gold for ours, gold in zip(found, examples["label"][:], strict=True)])

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> Review:
        """See Task."""
        from llmkit.tasks.label.review import LabelReview

        return LabelReview(self, predictions, examples, data)

    def contents(self, examples: Dataset) -> dict[str, list[str]]:
        """See Task: a text, or both of a pair."""
        pairs = examples["pair"][:]
        return {"text": examples["text"][:]} | ({"pair": pairs} if pairs[0] is not None else {})

    def typed_example(self, typed: Typed, data: LabelData) -> dict[str, Any]:
        """See Task: a text, or a pair of texts."""
        from llmkit.tasks.label.explained import typed_text

        return typed_text(typed, self.name, pair=(data.pair_column or self.pair_column) is not None)

    def explained(
        self,
        example: Mapping[str, Any],
        inputs: Sequence[tuple[Mapping[str, Any], Outputs]],
        prediction: Prediction,
        codec: Codec,
        data: LabelData,
        wanted: Wanted,
    ) -> Explained:
        """See Task: the logit of the most likely label, or of the one that is wanted."""
        from llmkit.tasks.label.explained import explained_label

        wanted.check(self.name, label=True)
        return explained_label(self.name, example, inputs[0], codec, data.max_length, wanted.label)

    def served(self, data: LabelData) -> Served:
        """See Task."""
        from llmkit.tasks.label.served import served_label

        return served_label(*self._read_from(data))

    def _read_from(self, data: LabelData) -> tuple[str, str | None]:
        """The columns of both texts."""
        return data.text_column or self.text_column, data.pair_column or self.pair_column

    @property
    def editor(self) -> Editor:
        """See Task."""
        from llmkit.tasks.label.edited import LabelEditor

        return LabelEditor()

    def check_labels(self, name: str, codec: Codec, examples: Dataset) -> None:
        """See Task."""
        label_forms.check_labels(name, codec.labels, examples)

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: the share of each label, and validation labels that do not occur in the training examples."""
        train, validation = examples["train"], examples["validation"]
        yield False, label_forms.label_counts(train)
        clause = "does not occur in the training examples"
        if unknown := label_forms.unknown_labels(validation, train["label"][:], clause):
            yield True, f"validation: {unknown}"

    def usage_example(self, model: Published) -> str:
        """See Task."""
        from llmkit.tasks.label.usage import usage_example

        return usage_example(model)


def _text(row: Mapping[str, Any], name: str, option: str, known: Sequence[str | None]) -> str:
    if name not in row:
        raise _no_column(row, name, option, known)
    if is_missing(row[name]):
        return ""
    if not isinstance(row[name], str):
        raise BadRow(f"{name!r} is not text; choose another column with data.{option}")
    return checked_text(row[name], name)


def _no_column(row: Mapping[str, Any], name: str, option: str, known: Sequence[str | None]) -> MissingColumn:
    return MissingColumn(missing_column(row, name, option, [key for key in row if key not in known]))
