"""Classification of texts or pairs of texts, each with any number of labels.

An example in canonical columns. Labels are a set as text, which is empty for none (label_sets.py):

    {"id": "3", "text": "the ship sails.", "pair": None, "label": "calm|sea"}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.tasks.encoder_models import describe_labels
from llmkit.tasks.examples import checked_text
from llmkit.tasks.label import label_sets
from llmkit.tasks.label.sections import LabelData, MultiLabelRecipe
from llmkit.tasks.label.task import Classification
from llmkit.tasks.score_tables import Table
from llmkit.tasks.values import Array, Candidate, Codec, Outputs, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from llmkit.tasks.head import Head
    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review
    from llmkit.tasks.served import Served

HALF = 0.5  # the probability above which a label is given, where no other threshold was tuned


@dataclass(frozen=True)
class MultiLabel(Classification):
    """Texts or pairs of texts, each with any number of labels.

    Average precision selects the best checkpoint: it asks whether a label ranks the right texts first, at any
    threshold.
    """

    metric: str = "macro_average_precision"
    headline: tuple[str, ...] = ("micro_f1", "macro_f1", "macro_average_precision")
    label_columns: tuple[str, ...] = ("labels", "label")

    recipe_class: ClassVar[type[FinetuneRecipe]] = MultiLabelRecipe
    problem_type: ClassVar[str | None] = "multi_label_classification"

    @property
    def head(self) -> Head:
        """See Task."""
        from llmkit.tasks.label.multilabel_head import HEAD

        return HEAD

    def _label(self, value: Any, column: str) -> str:
        return checked_text(label_sets.of_row(value, column), column)

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """See Task. Raises UserError if fewer than two labels occur in the training examples."""
        if examples is None:
            return self.names
        label_sets.check_several(examples)
        return label_sets.all_labels(examples)

    def _number_of(self, codec: Codec) -> Callable[[str], list[int]]:
        number = {label: number for number, label in enumerate(codec.labels)}
        return lambda labels: [number[label] for label in label_sets.parts(labels)]

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: LabelData,
        *,
        threshold: Mapping[str, float] | None = None,
    ) -> list[Prediction]:
        """See Task. Outputs are `logits`, [labels]. A label is given if its probability is above its threshold.

        The score is the probability of the set of labels, and candidates are all labels, with their own probabilities.
        """
        ids = examples["id"][:]
        limits = np.array([(threshold or {}).get(label, HALF) for label in codec.labels])
        return [
            _prediction(ids[owner], output["logits"], codec, limits)
            for output, owner in zip(outputs, features["example"][:], strict=True)
        ]

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Any]:
        """See Task; also `per_label`, and `tuned`: thresholds for each label, and what they are worth."""
        from llmkit.tasks.label.multilabel_scores import multilabel_scores

        return multilabel_scores(predictions, examples)

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Measured]:
        """See Task."""
        from llmkit.tasks.label.multilabel_scores import multilabel_measures

        return multilabel_measures(predictions, examples)

    def correct(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> Array:
        """See Task: an example is right if its labels are, and no others."""
        found = [p and label_sets.as_text(label_sets.parts(p.text)) for p in by_id(predictions, examples)]
        return np.array([ours == theirs for ours, theirs in zip(found, examples["label"][:], strict=True)])

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> Review:
        """See Task."""
        from llmkit.tasks.label.review import MultiLabelReview

        return MultiLabelReview(self, predictions, examples, data)

    def served(self, data: LabelData) -> Served:
        """See Task."""
        from llmkit.tasks.label.served import served_labels

        return served_labels(*self._read_from(data))

    def check_labels(self, name: str, codec: Codec, examples: Dataset) -> None:
        """See Task."""
        there = label_sets.all_labels(examples)
        if there and not set(there) & set(codec.labels):
            raise UserError(
                f"{name} knows none of the labels of the data: it has {describe_labels(codec.labels)}, "
                f"the data {describe_labels(there)}",
                remedy="choose other data with --data or another column with data.label_column, or name the model's "
                "labels in id2label of its config.json",
            )
        if unknown := label_sets.unknown(examples, codec.labels, f"are not known to {name}"):
            warn(unknown)

    def check_scores(self, examples: Dataset, data: LabelData) -> None:
        """See Task. Raises UserError if no example has a label."""
        if not label_sets.all_labels(examples):
            raise UserError(
                f"none of the {len(examples):,} examples to score has a label",
                remedy="choose another file, or another column with data.label_column",
            )

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """See Task: the share of each label, and validation labels that do not occur in the training examples."""
        yield False, label_sets.counts(examples["train"])
        clause = "do not occur in the training examples"
        if unknown := label_sets.unknown(examples["validation"], codec.labels, clause):
            yield True, f"validation: {unknown}"

    def more_tables(self, scores: Mapping[str, Any]) -> Iterator[Table]:
        """See Task: scores by label, and those at the tuned thresholds."""
        measures = ("f1", "precision", "recall", "average_precision")
        rows = [
            [name, *(f"{of[m]:.2f}" for m in measures), f"{of['support']:,}"]
            for name, of in scores["per_label"].items()
        ]
        yield Table(["label", *(f">{m}" for m in measures), ">examples"], rows)
        if tuned := scores["tuned"]:
            yield Table(
                ["thresholds", ">micro_f1", ">macro_f1", ">examples"],
                [
                    [what, f"{tuned[part]['micro_f1']:.2f}", f"{tuned[part]['macro_f1']:.2f}", f"{of:,}"]
                    for what, part in _TUNED.items()
                    for of in [tuned[part]["total"]]
                ],
            )


_TUNED = {
    "tuned, on the half they were tuned on": "tuned_on",
    "tuned, on the other half": "reported_on",
    "all 0.5, on the other half": "untuned",
}


def _prediction(example_id: str, logits: Array, codec: Codec, limits: Array) -> Prediction:
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    given = probabilities > limits
    candidates = tuple(
        Candidate(codec.labels[n], None, None, float(logits[n]), float(probabilities[n]))
        for n in np.argsort(-logits, kind="stable")
    )
    text = label_sets.as_text(label for label, its in zip(codec.labels, given, strict=True) if its)
    return Prediction(
        example_id, text, float(np.where(given, probabilities, 1 - probabilities).prod()), candidates=candidates
    )
