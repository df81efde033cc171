"""The metrics of SQuAD 1.1 and 2.0 as `evaluate` metrics, with the numbers of the official scripts.

Both are computed over all questions, as evaluate-v1.1.py and evaluate-v2.0.py do.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

from llmkit.system.errors import UserError
from llmkit.tasks.span.text_overlap import exact_match, exact_match_v2, f1, f1_v2, means_of_parts

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

logger = logging.getLogger(__name__)

_PREDICTION = {"id": datasets.Value("string"), "prediction_text": datasets.Value("string")}
_REFERENCE = {
    "id": datasets.Value("string"),
    "answers": {
        "text": datasets.List(datasets.Value("string")),
        "answer_start": datasets.List(datasets.Value("int32")),
    },
}


class InMemoryMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """An `evaluate.Metric` that keeps its inputs in memory.

    By default a metric creates a folder in the Hugging Face home when it is constructed, and an Arrow file and a lock
    there when it computes. That fails if the home is read-only, and makes processes wait for each other.
    """

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _build_data_dir(self) -> str:
        # The base class creates the folder even with keep_in_memory=True. The path must be a string but is not used.
        return ""


class Squad(InMemoryMetric):
    """`Squad().compute(predictions=…, references=…)` gives {"exact_match", "f1"}, both in percent.

    predictions: {"id": str, "prediction_text": str}; references: {"id": str, "answers": {"text": list[str],
    "answer_start": list[int]}}, in any order; `answer_start` is not used. As in the official script, a reference
    without a prediction scores 0, with a warning, and a prediction without a reference is ignored. Raises UserError if
    there are no references, an id is repeated, or a reference has no answer.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Exact match and token F1 of SQuAD 1.1.",
            citation="Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": _PREDICTION, "references": _REFERENCE}),
        )

    def _compute(self, predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> dict[str, float]:
        _check_unique_ids((prediction["id"] for prediction in predictions), "predictions")
        _check_unique_ids((reference["id"] for reference in references), "references")
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


class SquadV2(InMemoryMetric):
    """`SquadV2().compute(predictions=…, references=…, no_answer_threshold=1.0)`: the official output.

    predictions: {"id": str, "prediction_text": str, "no_answer_probability": float}; references: {"id": str,
    "answers": {"text": list[str], "answer_start": list[int]}} in any order, with an empty `text` if the question has no
    answer; `answer_start` is not used. An answer is withdrawn if its no_answer_probability exceeds
    `no_answer_threshold`; the default of 1.0 withdraws none.

    Gives exact and f1 in percent and total; the same over the questions with (HasAns_…) and without (NoAns_…) an
    answer, if any; and best_exact and best_f1 with their thresholds (best_exact_thresh, best_f1_thresh). The best_… are
    tuned on the questions that they are reported on, and may separate questions of equal probability. Use them to
    compare with other reports of the official script, and `null_threshold.best_threshold` to choose a threshold.
    Probabilities are float64; the Hub's metric rounds them, and so its thresholds, to float32.

    Raises UserError if there are no references, an id is repeated, a reference has no prediction (a KeyError in the
    official script), or a probability is not finite.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Exact match and token F1 of SQuAD 2.0.",
            citation="Rajpurkar et al. 2018, Know What You Don't Know: Unanswerable Questions for SQuAD",
            inputs_description=self.__doc__,
            features=datasets.Features(
                {
                    "predictions": {**_PREDICTION, "no_answer_probability": datasets.Value("float64")},
                    "references": _REFERENCE,
                }
            ),
        )

    def _compute(
        self,
        predictions: list[dict[str, Any]],
        references: list[dict[str, Any]],
        no_answer_threshold: float = 1.0,
    ) -> dict[str, float]:
        _check_v2(predictions, references)
        golds_of = {reference["id"]: reference["answers"]["text"] for reference in references}
        # The official threshold search breaks ties by the order of the predictions.
        scored = [prediction for prediction in predictions if prediction["id"] in golds_of]
        texts = [prediction["prediction_text"] for prediction in scored]
        golds = [golds_of[prediction["id"]] for prediction in scored]
        null = np.array([prediction["no_answer_probability"] for prediction in scored])
        has_answer = np.array([bool(gold) for gold in golds])
        gives_text = np.array([bool(text) for text in texts])
        raw = {
            "exact": np.array([exact_match_v2(*pair) for pair in zip(texts, golds, strict=True)]),
            "f1": np.array([f1_v2(*pair) for pair in zip(texts, golds, strict=True)]),
        }
        final = {name: np.where(null > no_answer_threshold, ~has_answer, scores) for name, scores in raw.items()}

        results = means_of_parts(final, has_answer)
        for name, scores in raw.items():
            best, threshold = _official_best(scores, null, has_answer, gives_text)
            results |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
        return results


def _check_unique_ids(ids: Iterable[str], what: str) -> None:
    """Raises UserError if ids repeat; `what` names the items, "predictions" or "references"."""
    repeated = [id_ for id_, times in Counter(ids).items() if times > 1]
    if repeated:
        raise UserError(
            f"{len(repeated)} ids occur more than once in the {what}, the first is {repeated[0]!r}",
            remedy="give every question one id and one entry",
        )


def _check_v2(predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> None:
    _check_unique_ids((prediction["id"] for prediction in predictions), "predictions")
    _check_unique_ids((reference["id"] for reference in references), "references")
    if not references:
        raise UserError("there is no question to score", remedy="give at least one reference")
    predicted = {prediction["id"] for prediction in predictions}
    missing = [reference["id"] for reference in references if reference["id"] not in predicted]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(references)} questions have no prediction, the first is {missing[0]!r}",
            remedy="predict an empty text for a question that is left unanswered",
        )
    for prediction in predictions:
        if not math.isfinite(prediction["no_answer_probability"]):
            raise UserError(
                f"no_answer_probability of {prediction['id']!r} is {prediction['no_answer_probability']}",
                remedy="check that the model's logits are finite",
            )


def _official_best(
    scores: FloatArray, null: FloatArray, has_answer: BoolArray, gives_text: BoolArray
) -> tuple[float, float]:
    """The official best score in percent and its threshold, including three quirks of the script.

    The search starts with all questions unanswered, at threshold 0. A cut may separate questions of equal null score.
    A predicted text on a question without an answer costs a point even if it normalizes to nothing. Of tied cuts, the
    first wins.
    """
    order = np.argsort(null, kind="stable")
    changes = np.where(has_answer, scores, -gives_text.astype(np.float64))[order]
    # cumsum adds sequentially, like the script, since rounding decides between tied cuts.
    totals = np.cumsum(np.append(np.count_nonzero(~has_answer), changes))
    best = int(np.argmax(totals))
    threshold = 0.0 if best == 0 else float(null[order[best - 1]])
    return 100 * float(totals[best]) / len(scores), threshold
