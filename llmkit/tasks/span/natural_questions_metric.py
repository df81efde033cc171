"""Short answers of Natural Questions, scored as the official nq_eval.py does (Kwiatkowski et al. 2019).

Each question was annotated several times. It has an answer if enough annotators gave one (two of five in the
official data), and a prediction is right if it equals what any of them gave: a set of spans, or yes or no. A
prediction is given only if its score reaches a threshold, and the official F1 is the one at the best threshold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from llmkit.tasks.bootstrap import corpus_interval

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

Span = tuple[int, int]  # start and end of an answer, in any unit that predictions and annotations share
Answer = Span | Literal["yes", "no"] | None
Annotation = AbstractSet[Span] | Literal["yes", "no"]  # no span at all: this annotator found no answer

_PRECISIONS = (0.5, 0.75, 0.9)  # at which the official script reports the recall


class _Best(NamedTuple):
    f1: float
    precision: float
    recall: float
    threshold: float


def short_answer_scores(
    predictions: Sequence[Answer],
    scores: npt.ArrayLike,
    annotations: Sequence[Sequence[Annotation]],
    documents: Sequence[str],
    *,
    non_null_annotations: int = 2,
) -> dict[str, Any]:
    """The official numbers in percent, how sure they are, and what a threshold is worth that was not fitted.

    All four are [questions]: the answer or None, the score it is compared by (any finite unit), what each
    annotator gave, and the document that was asked about. `non_null_annotations` is how many annotators must
    have given an answer for the question to have one: 2 of 5 in the validation data, 1 in the training data,
    where there is one.

    `f1`, `precision` and `recall` are those at `threshold`, the best one for these very questions, as in the
    official script; `recall_at_precision_0.5` and so on the highest recall at a threshold of that precision.
    `f1_interval` is the 95 % interval over documents at that threshold. `all_f1`, `all_precision`,
    `all_recall` give every answer, whatever its score. `tuned` holds the threshold that is best on one half of
    the documents, and the scores there and on the other half; None if there is but one half.

    Raises ValueError when there are no questions, the lengths differ or a score is not finite.
    """
    score = np.asarray(scores, np.float64)
    if not len(predictions) or {score.shape, (len(annotations),), (len(documents),)} != {(len(predictions),)}:
        shapes = f"{len(predictions)}, {score.shape}, {len(annotations)} and {len(documents)}"
        raise ValueError(f"four columns of one length needed, at least 1; got {shapes}")
    if not np.isfinite(score).all():
        raise ValueError("a score is not finite")
    outcomes = np.array(
        [_outcome(*pair, non_null_annotations) for pair in zip(predictions, annotations, strict=True)], bool
    )

    best, recalls = _curve(outcomes, score)
    given = _given(outcomes, score, best.threshold)
    interval = corpus_interval(lambda rows: 100 * _f1(given[rows].sum(axis=0))[0], documents)
    results: dict[str, Any] = {
        "f1": 100 * best.f1,
        "precision": 100 * best.precision,
        "recall": 100 * best.recall,
        "threshold": best.threshold,
        "f1_interval": list(interval) if interval else None,
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


def _outcome(answer: Answer, annotations: Sequence[Annotation], non_null_annotations: int) -> tuple[bool, bool, bool]:
    """Whether the answer is right, whether there is one, and whether the question has one."""
    has_answer = sum(bool(annotation) for annotation in annotations) >= non_null_annotations
    wanted = answer if isinstance(answer, str) else {answer}
    right = has_answer and answer is not None and any(annotation == wanted for annotation in annotations)
    return right, answer is not None, has_answer


def _curve(outcomes: BoolArray, score: FloatArray) -> tuple[_Best, list[float]]:
    """The best threshold, and the recall at each of `_PRECISIONS`, of all thresholds that a score sets."""
    order = np.argsort(-score, kind="stable")
    score = score[order]
    last_of_its_value = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    counts = np.cumsum(outcomes[order], axis=0)[last_of_its_value]
    counts[:, 2] = outcomes[:, 2].sum()
    rows = [_f1(row) for row in counts]
    best = _Best(0.0, 0.0, 0.0, 0.0)  # what the official script gives where nothing is right at any threshold
    for row, threshold in zip(rows, score[last_of_its_value].tolist(), strict=True):
        if row[0] > best.f1:
            best = _Best(*row, threshold)
    return best, [max((r for _, p, r in rows if p >= precision), default=0.0) for precision in _PRECISIONS]


def _given(outcomes: BoolArray, score: FloatArray, threshold: float) -> BoolArray:
    """The outcomes if answers of a score below `threshold` are held back."""
    keep = score >= threshold
    return outcomes & np.stack([keep, keep, np.ones_like(keep)], axis=1)


def _report(outcomes: BoolArray) -> dict[str, float]:
    f1, precision, recall = (100 * value for value in _f1(outcomes.sum(axis=0)))
    return {"f1": f1, "precision": precision, "recall": recall, "total": len(outcomes)}


def _f1(counts: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """F1, precision and recall. The official script's operations in its order: its rounding decides ties."""
    right, answered, wanted = counts.tolist()
    precision = right / answered if answered else 0.0
    recall = right / wanted if wanted else 0.0
    return (2 * precision * recall / (precision + recall) if right else 0.0), precision, recall


def _half(documents: Sequence[str]) -> BoolArray:
    """Which half a document is in: whole documents, and the same ones whatever the order of the data."""
    return np.array([hashlib.sha256(document.encode()).digest()[0] % 2 for document in documents], bool)
