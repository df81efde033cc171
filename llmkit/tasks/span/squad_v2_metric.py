"""SQuAD 2.0: exact match and F1 where questions may have no answer, the numbers of evaluate-v2.0.py."""

from __future__ import annotations

import math
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

from llmkit.system.errors import UserError
from llmkit.tasks.span.in_memory import InMemoryMetric, check_unique_ids
from llmkit.tasks.span.text_overlap import exact_match_v2, f1_v2, means_of_parts

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class SquadV2(InMemoryMetric):
    """`SquadV2().compute(predictions=…, references=…, no_answer_threshold=1.0)`: the official output.

    predictions: {"id": str, "prediction_text": str, "no_answer_probability": float}; references: {"id": str,
    "answers": {"text": list[str], "answer_start": list[int]}} in any order, with an empty `text` where the
    question has no answer; `answer_start` is not used. An answer is taken back where its
    no_answer_probability is above `no_answer_threshold`; the default of 1.0 takes no probability back.

    Gives exact and f1 in percent and total, the same over the questions with an answer (HasAns_…) and without
    (NoAns_…) where there are any, and best_exact and best_f1 with the thresholds that reach them
    (best_exact_thresh, best_f1_thresh). The best_… are fitted on the very questions they are reported on, and
    may cut between questions of equal probability: use them to compare with other reports of the official
    script, and `null_threshold.best_threshold` to choose a threshold. Probabilities keep float64; the Hub's
    metric rounds them, and with them its thresholds, to float32.

    Raises UserError when there is no reference, an id is repeated, a reference has no prediction (the
    official script ends in a KeyError there) or a probability is not finite.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Exact match and token F1 of SQuAD 2.0.",
            citation="Rajpurkar et al. 2018, Know What You Don't Know: Unanswerable Questions for SQuAD",
            inputs_description=self.__doc__,
            features=datasets.Features(
                {
                    "predictions": {
                        "id": datasets.Value("string"),
                        "prediction_text": datasets.Value("string"),
                        "no_answer_probability": datasets.Value("float64"),
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

    def _compute(
        self,
        predictions: list[dict[str, Any]],
        references: list[dict[str, Any]],
        no_answer_threshold: float = 1.0,
    ) -> dict[str, float]:
        _check(predictions, references)
        golds_of = {reference["id"]: reference["answers"]["text"] for reference in references}
        # The order of the predictions decides how the official search for a threshold breaks ties.
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


def _check(predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> None:
    check_unique_ids((prediction["id"] for prediction in predictions), "predictions")
    check_unique_ids((reference["id"] for reference in references), "references")
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
    """The official best score in percent and its threshold, its three habits kept.

    It starts from everything left empty, which it gives the threshold 0; a cut may fall between questions of
    equal null score; and a text on a question without an answer costs a point even if it normalises to
    nothing. The first cut that is strictly better wins.
    """
    order = np.argsort(null, kind="stable")
    changes = np.where(has_answer, scores, -gives_text.astype(np.float64))[order]
    # cumsum adds one by one, like the script: even its rounding decides between tied cuts.
    totals = np.cumsum(np.append(np.count_nonzero(~has_answer), changes))
    best = int(np.argmax(totals))
    threshold = 0.0 if best == 0 else float(null[order[best - 1]])
    return 100 * float(totals[best]) / len(scores), threshold
