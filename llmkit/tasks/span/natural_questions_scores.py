"""Scores of Natural Questions (Kwiatkowski et al. 2019): the official F1 of short answers, and SQuAD 2.0's scores.

`short_answer_scores` gives the numbers of the official nq_eval.py. Each question was annotated several times. It has
an answer if enough annotators gave one (two of five in the official data). A prediction is correct if it equals any
annotator's answer: a set of spans, or yes or no. A prediction counts as given only if its score reaches a threshold;
the official F1 is the one at the best threshold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from llmkit.tasks.bootstrap import interval
from llmkit.tasks.measures import Measured, Sums, f1_of_counts
from llmkit.tasks.span.normalization import Normalize
from llmkit.tasks.span.scores import squad_v2_scores
from llmkit.tasks.span.text_overlap import normalize_answer
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

Span = tuple[int, int]  # start and end of an answer; predictions and annotations must use the same unit
Answer = Span | Literal["yes", "no"] | None
Annotation = AbstractSet[Span] | Literal["yes", "no"]  # an empty set if the annotator found no answer

_PRECISIONS = (0.5, 0.75, 0.9)  # at which the official script reports recall
ANNOTATORS = 5  # per question of the evaluation data
_MIN_SCORE = -3.0e38  # below any score


class _Best(NamedTuple):
    f1: float
    precision: float
    recall: float
    threshold: float


def natural_questions_scores(
    predictions: Sequence[Prediction], examples: Dataset, normalize: Normalize = normalize_answer
) -> dict[str, Any]:
    """SQuAD 2.0's scores, and the official ones with the prefix `short_`; see `short_answer_scores`.

    The official scores compare positions, not texts, and use each question's best answer even if the model abstains.
    """
    answers, scores, annotations, needed = _compared(predictions, examples)
    short = short_answer_scores(answers, scores, annotations, examples["context"][:], non_null_annotations=needed)
    short.pop("total")
    texts = squad_v2_scores(predictions, examples, normalize)
    return {**{f"short_{name}": value for name, value in short.items()}, **texts}


def short_f1(predictions: Sequence[Prediction], examples: Dataset) -> Measured:
    """The official F1 as a measure, at the best threshold for these predictions and all of these examples. Questions on
    one document are not independent."""
    answers, scores, annotations, needed = _compared(predictions, examples)
    outcomes, score = _outcomes(answers, annotations, needed), np.asarray(scores, np.float64)
    given = _given(outcomes, score, _curve(outcomes, score)[0].threshold)
    return Measured(_f1_measure(given), examples["context"][:])


def _compared(
    predictions: Sequence[Prediction], examples: Dataset
) -> tuple[list[Answer], list[float], list[list[Annotation]], int]:
    """The answer to each question, its score, those of the annotators, and how many of these must have given one."""
    annotations = examples["annotations"][:]
    found = [
        _predicted(prediction, context)
        for prediction, context in zip(by_id(predictions, examples), examples["context"][:], strict=True)
    ]
    # If any question has fewer annotators than usual, one annotator's answer is enough for all questions.
    needed = annotators_needed(min(len(question) for question in annotations))
    golds = [[_gold(one) for one in question] for question in annotations]
    return [answer for answer, _ in found], [score for _, score in found], golds, needed


def annotators_needed(count: int) -> int:
    """How many of `count` annotators must have given an answer for the question to have one: 2 of 5, else 1."""
    return 2 if count >= ANNOTATORS else 1


def _predicted(prediction: Prediction | None, context: str) -> tuple[Answer, float]:
    """The best answer's span, and the score that thresholds are compared with: the negative null score."""
    if prediction is None:
        return None, _MIN_SCORE
    best = prediction.candidates[0] if prediction.candidates else prediction
    score = prediction.score if prediction.null_score is None else -prediction.null_score
    if best.start is not None and best.end is not None:
        return (best.start, best.end), score
    # Predictions from other tools may have no positions.
    start = context.find(best.text) if best.text else -1
    return ((start, start + len(best.text)) if start >= 0 else None), score


def _gold(one: Mapping[str, Any]) -> Annotation:
    if one["yes_no"] in ("YES", "NO"):
        return "yes" if one["yes_no"] == "YES" else "no"
    return frozenset(zip(one["start"], one["end"], strict=True))


def short_answer_scores(
    predictions: Sequence[Answer],
    scores: npt.ArrayLike,
    annotations: Sequence[Sequence[Annotation]],
    documents: Sequence[str],
    *,
    non_null_annotations: int = 2,
) -> dict[str, Any]:
    """The official numbers in percent with an interval, and scores at a threshold tuned on other documents.

    All four arguments are [questions]: the answer or None, its score (any finite unit), the annotators' answers, and
    the document. `non_null_annotations` is how many annotators must have given an answer for the question to have one:
    2 of 5 in the validation data, 1 of 1 in the training data.

    `f1`, `precision` and `recall` are at `threshold`, the best one for these same questions, as in the official script.
    `recall_at_precision_0.5` and so on are the highest recall at any threshold with at least that precision.
    `f1_interval` is the 95 % interval over documents at `threshold`. `all_f1`, `all_precision` and `all_recall` count
    every answer, whatever its score. `tuned` has the best threshold on one half of the documents, and the scores on
    that half and on the other; None if one half is empty.

    Raises ValueError if there are no questions, if the lengths differ, or if a score is not finite.
    """
    score = np.asarray(scores, np.float64)
    if not len(predictions) or {score.shape, (len(annotations),), (len(documents),)} != {(len(predictions),)}:
        shapes = f"{len(predictions)}, {score.shape}, {len(annotations)} and {len(documents)}"
        raise ValueError(f"expected four arrays of the same length, at least 1; got {shapes}")
    if not np.isfinite(score).all():
        raise ValueError("a score is not finite")
    outcomes = _outcomes(predictions, annotations, non_null_annotations)
    best, recalls = _curve(outcomes, score)
    given = _given(outcomes, score, best.threshold)
    results: dict[str, Any] = {
        "f1": 100 * best.f1,
        "precision": 100 * best.precision,
        "recall": 100 * best.recall,
        "threshold": best.threshold,
        "f1_interval": interval(_f1_measure(given), documents),
        **{f"recall_at_precision_{p}": 100 * recall for p, recall in zip(_PRECISIONS, recalls, strict=True)},
        **{f"all_{name}": value for name, value in _report(outcomes).items() if name != "total"},
        "total": len(predictions),
        "with_answer": int(outcomes[:, 2].sum()),
    }
    half = _half(documents)
    if half.any() and not half.all():
        threshold = _curve(outcomes[~half], score[~half])[0].threshold
        parts = {"tuned_on": ~half, "reported_on": half}
        reports = {name: _report(_given(outcomes[part], score[part], threshold)) for name, part in parts.items()}
        results["tuned"] = {"threshold": threshold, **reports}
    else:
        results["tuned"] = None
    return results


def _outcomes(
    answers: Sequence[Answer], annotations: Sequence[Sequence[Annotation]], non_null_annotations: int
) -> BoolArray:
    return np.array([_outcome(*pair, non_null_annotations) for pair in zip(answers, annotations, strict=True)], bool)


def _outcome(answer: Answer, annotations: Sequence[Annotation], non_null_annotations: int) -> tuple[bool, bool, bool]:
    """(the prediction is correct, there is a prediction, the question has an answer)."""
    has_answer = sum(bool(annotation) for annotation in annotations) >= non_null_annotations
    wanted = answer if isinstance(answer, str) else {answer}
    correct = has_answer and answer is not None and any(annotation == wanted for annotation in annotations)
    return correct, answer is not None, has_answer


def _curve(outcomes: BoolArray, score: FloatArray) -> tuple[_Best, list[float]]:
    """The best of all thresholds at a score, and the highest recall at each of `_PRECISIONS`."""
    order = np.argsort(-score, kind="stable")
    score = score[order]
    last_of_its_value = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    counts = np.cumsum(outcomes[order], axis=0)[last_of_its_value]
    counts[:, 2] = outcomes[:, 2].sum()
    rows = [_f1(row) for row in counts]
    best = _Best(0.0, 0.0, 0.0, 0.0)  # the official result if no prediction is correct at any threshold
    for row, threshold in zip(rows, score[last_of_its_value].tolist(), strict=True):
        if row[0] > best.f1:
            best = _Best(*row, threshold)
    return best, [max((r for _, p, r in rows if p >= precision), default=0.0) for precision in _PRECISIONS]


def _given(outcomes: BoolArray, score: FloatArray, threshold: float) -> BoolArray:
    """The outcomes if answers with a score below `threshold` are withheld."""
    keep = score >= threshold
    return outcomes & np.stack([keep, keep, np.ones_like(keep)], axis=1)


def _f1_measure(given: BoolArray) -> Sums:
    return Sums(given.astype(np.float64), f1_of_counts)


def _report(outcomes: BoolArray) -> dict[str, float]:
    f1, precision, recall = (100 * value for value in _f1(outcomes.sum(axis=0)))
    return {"f1": f1, "precision": precision, "recall": recall, "total": len(outcomes)}


def _f1(counts: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """F1, precision and recall, computed in the official script's order of operations, since rounding decides ties."""
    correct, predicted, gold = counts.tolist()
    precision = correct / predicted if predicted else 0.0
    recall = correct / gold if gold else 0.0
    return (2 * precision * recall / (precision + recall) if correct else 0.0), precision, recall


def _half(documents: Sequence[str]) -> BoolArray:
    """The half that each document is in, by hash: it does not depend on the order of the data."""
    return np.array([hashlib.sha256(document.encode()).digest()[0] % 2 for document in documents], bool)
