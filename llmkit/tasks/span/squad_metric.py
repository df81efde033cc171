"""SQuAD 1.1: exact match and F1 over all questions, the numbers of the official evaluate-v1.1.py."""

from __future__ import annotations

import logging
from typing import Any

import datasets
import evaluate

from llmkit.system.errors import UserError
from llmkit.tasks.span.in_memory import InMemoryMetric, check_unique_ids
from llmkit.tasks.span.text_overlap import exact_match, f1

logger = logging.getLogger(__name__)


class Squad(InMemoryMetric):
    """`Squad().compute(predictions=…, references=…)` gives {"exact_match", "f1"}, both in percent.

    predictions: {"id": str, "prediction_text": str}; references: {"id": str, "answers": {"text": list[str],
    "answer_start": list[int]}}, in any order; `answer_start` is not used. As in the official script, a
    reference without a prediction of its id scores 0, with a warning, and a prediction for no reference is
    left out. Raises UserError when there is no reference, an id is repeated or a reference has no answer.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Exact match and token F1 of SQuAD 1.1.",
            citation="Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text",
            inputs_description=self.__doc__,
            features=datasets.Features(
                {
                    "predictions": {
                        "id": datasets.Value("string"),
                        "prediction_text": datasets.Value("string"),
                    },
                    "references": {
                        "id": datasets.Value("string"),
                        "answers": {
                            "text": datasets.List(datasets.Value("string")),
                            "answer_start": datasets.List(datasets.Value("int32")),
                        },
                    },
                }
            ),
        )

    def _compute(self, predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> dict[str, float]:
        check_unique_ids((prediction["id"] for prediction in predictions), "predictions")
        check_unique_ids((reference["id"] for reference in references), "references")
        if not references:
            raise UserError("there is no question to score", remedy="give at least one reference")
        unanswerable = [reference["id"] for reference in references if not reference["answers"]["text"]]
        if unanswerable:
            raise UserError(
                f"{len(unanswerable)} questions have no answer, the first is {unanswerable[0]!r}",
                remedy="score data with unanswerable questions as SQuAD 2.0",
            )

        text_of = {prediction["id"]: prediction["prediction_text"] for prediction in predictions}
        answered = [
            (text_of[reference["id"]], reference["answers"]["text"])
            for reference in references
            if reference["id"] in text_of
        ]
        if len(answered) < len(references):
            missing = len(references) - len(answered)
            logger.warning("%d of %d questions have no prediction and score 0", missing, len(references))
        return {
            "exact_match": 100 * sum(exact_match(text, golds) for text, golds in answered) / len(references),
            "f1": 100 * sum(f1(text, golds) for text, golds in answered) / len(references),
        }
