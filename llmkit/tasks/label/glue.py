"""GLUE (Wang et al. 2019): nine tasks on sentences and sentence pairs, as nyu-mll/glue has them.

Columns, label order and scores follow the benchmark. If a task has two scores, their mean selects the best checkpoint,
since GLUE averages them too: `combined_score`, named as in transformers' run_glue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from llmkit.tasks.label.regression import Regression
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.label.task import Classification
from llmkit.tasks.values import MissingLabel, Prediction

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.measures import Measured

_F1: dict[str, Any] = {"metric": "combined_score", "headline": ("accuracy", "f1", "combined_score")}
_SENTENCES = ("sentence1", "sentence2")


class _Similarity(Regression):
    """STS-B, as the benchmark has it: the numbers are learned as they are, and only correlations are scores."""

    score_unit: ClassVar[str] = "in percent"

    def _label(self, value: Any, column: str) -> str:
        label = super()._label(value, column)
        if float(label) == -1:
            raise MissingLabel(f"{column!r} is -1, which marks a withheld number")
        return label

    def _standard(self, train: Dataset) -> tuple[float, float]:
        return 0.0, 1.0

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Any]:
        """See Task. A missing prediction counts as 0."""
        from llmkit.tasks.label.scores import number_scores

        return number_scores(predictions, examples, self.headline, missing=0.0)

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: LabelData) -> dict[str, Measured]:
        """See Task."""
        from llmkit.tasks.label.scores import number_measures

        return number_measures(predictions, examples, self.headline, missing=0.0)


def _of(
    kind: type[Classification], name: str, what: str, columns: tuple[str, ...], names: tuple[str, ...], **more: Any
) -> Classification:
    return kind(
        name=f"glue/{name}",
        title=f"GLUE: {what}",
        recipe="glue-bert-base",
        hub_id="nyu-mll/glue",
        hub_name=name,
        text_column=columns[0],
        pair_column=columns[1] if len(columns) > 1 else None,
        names=names,
        item="sentence" if len(columns) == 1 else "pair",
        **more,
    )


GLUE = (
    _of(
        Classification,
        "cola",
        "is a sentence acceptable English?",
        ("sentence",),
        ("unacceptable", "acceptable"),
        metric="matthews_correlation",
        headline=("matthews_correlation", "accuracy"),
    ),
    _of(Classification, "sst2", "is a film review positive?", ("sentence",), ("negative", "positive")),
    _of(
        Classification,
        "mrpc",
        "do two sentences from the news mean the same?",
        _SENTENCES,
        ("not_equivalent", "equivalent"),
        **_F1,
    ),
    _of(
        Classification,
        "qqp",
        "do two questions on Quora ask the same?",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        **_F1,
    ),
    _of(
        _Similarity,
        "stsb",
        "how similar are two sentences, from 0 to 5?",
        _SENTENCES,
        ("score",),
        metric="combined_score",
        headline=("pearson", "spearmanr", "combined_score"),
    ),
    _of(
        Classification,
        "mnli",
        "does a premise entail a hypothesis, contradict it, or neither?",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        parts=("matched", "mismatched"),
    ),
    _of(
        Classification,
        "qnli",
        "does a sentence from Wikipedia answer a question?",
        ("question", "sentence"),
        ("entailment", "not_entailment"),
    ),
    _of(Classification, "rte", "does one text entail another?", _SENTENCES, ("entailment", "not_entailment")),
    _of(
        Classification,
        "wnli",
        "does a sentence entail another in which a pronoun is replaced?",
        _SENTENCES,
        ("not_entailment", "entailment"),
    ),
)
