"""What a report says of single answers: confidence, the threshold of abstaining, and passages with both answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from llmkit.tasks.review import Review, Thresholds, as_choices
from llmkit.tasks.shown import NO_ANSWER, Case, marked, plain
from llmkit.tasks.slices import Slicing
from llmkit.tasks.span.slices import slicings
from llmkit.tasks.values import Array, Prediction

if TYPE_CHECKING:
    from llmkit.tasks.span.sections import SpanData
    from llmkit.tasks.span.task import ExtractiveQA


class SpanReview(Review):
    """Answers to questions on passages."""

    task: ExtractiveQA
    data: SpanData

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """See Review."""
        return list(slicings(self.examples, null_answers=self.task.null_answers))

    @property
    def groups(self) -> Sequence[Hashable]:
        """See Review: questions on one passage belong together."""
        return self.examples["context"][:]  # type: ignore[no-any-return]

    def _choices(self, found: Sequence[Prediction]) -> Array | None:
        return as_choices([_choices(prediction) for prediction in found])

    def thresholds(self) -> Thresholds | None:
        """See Review."""
        from llmkit.tasks.span.threshold_curve import threshold_curve

        return threshold_curve(self)

    def case(self, row: int) -> Case:
        """See Review: the passage around the gold answers and the predicted one."""
        example, prediction = self.examples[row], self.found[row]
        answers, passage = example["answers"], example["context"]
        gold = [
            (start, start + len(text)) for text, start in zip(answers["text"], answers["answer_start"], strict=True)
        ]
        predicted = []
        if prediction is not None and prediction.start is not None and prediction.end is not None:
            predicted = [(prediction.start, prediction.end)]
        return Case(
            [("question", plain(example["question"])), ("passage", marked(passage, gold, predicted))],
            gold=" / ".join(dict.fromkeys([*answers["text"], *example.get("unplaced", ())])) or NO_ANSWER,
            predicted=(prediction.text or NO_ANSWER) if prediction is not None else "",
        )


def _choices(prediction: Prediction) -> list[float]:
    """The probability of the answer, then those of the others. With null answers, abstaining is one of them."""
    spans = [candidate.probability for candidate in prediction.candidates]
    if prediction.null_score is None:
        return spans
    abstaining = max(0.0, 1 - sum(spans))
    return [abstaining, *spans] if not prediction.text else [*spans, abstaining]
