"""CMRC 2018 (Cui et al. 2019): SQuAD's form in Chinese, with an official score of its own.

Some of its answers are not where they say: one in fifty of the validation split does not occur in its passage, or a
character further on. The official score compares texts alone, so all of them count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.tasks.examples import is_missing
from llmkit.tasks.span import squad_rows
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.span.task import ExtractiveQA
from llmkit.tasks.values import Array, Prediction

if TYPE_CHECKING:
    from datasets import Dataset, Features


@dataclass(frozen=True)
class Cmrc2018(ExtractiveQA):
    """Questions on Chinese passages. `unplaced` are the answers that their passage does not contain."""

    metric: str = "average"
    headline: tuple[str, ...] = ("exact_match", "f1", "average")

    def example(self, row: Mapping[str, Any], data: SpanData, *, labelled: bool) -> dict[str, Any]:
        """See Task. Answers are moved to their nearest occurrence; the first that has one is trained on."""
        answers = squad_rows.answers_of(row["answers"]) if labelled and not is_missing(row.get("answers")) else None
        if answers is None or not answers["text"] or len(answers["text"]) != len(answers["answer_start"]):
            return super().example(row, data, labelled=labelled) | {"unplaced": []}
        placed: dict[str, list[Any]] = {"text": [], "answer_start": []}
        unplaced = []
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            occurrence = _occurrence(text, start, str(row.get("context")))
            if occurrence is None:
                unplaced.append(text)
                continue
            placed["text"].append(text)
            placed["answer_start"].append(occurrence)
        found = squad_rows.question_of({**row, "answers": placed}, null_answers=bool(unplaced), labelled=True)
        return found | {"unplaced": unplaced}

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, List, Value

        return Features({**super().schema(), "unplaced": List(Value("string"))})

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> dict[str, Any]:
        """See Task: the official exact match, F1, and their mean."""
        from llmkit.tasks.span.cmrc2018_scores import cmrc2018_scores

        return cmrc2018_scores(predictions, examples)

    def values(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> dict[str, Array]:
        """See ExtractiveQA."""
        from llmkit.tasks.span.cmrc2018_scores import cmrc2018_values

        return cmrc2018_values(predictions, examples)

    def check_scores(self, examples: Dataset, data: SpanData) -> None:
        """See Task: the score is for Chinese."""


def _occurrence(text: Any, start: Any, context: str) -> Any:
    """The start of the occurrence of an answer that is nearest to `start`; None if there is none.

    What is no answer at all keeps its start, and is refused with the row.
    """
    if not isinstance(text, str) or not text.strip() or not isinstance(start, int):
        return start
    return squad_rows.nearest(text, start, context)
