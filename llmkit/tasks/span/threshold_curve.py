"""SQuAD 2.0's scores by the threshold of the null score above which a model abstains."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from llmkit.tasks.review import Thresholds
from llmkit.tasks.span.scores import golds_of, if_all_answered_or_none, squad_v2_scores, squad_v2_values
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from llmkit.tasks.span.review import SpanReview

POINTS = 200  # thresholds: quantiles of the null scores


def threshold_curve(review: SpanReview) -> Thresholds | None:
    """The scores at thresholds from the lowest null score to the highest. None if no question may lack an answer, or
    predictions have no null scores."""
    task, found = review.task, review.found
    nulls = [prediction.null_score for prediction in found if prediction is not None]
    if task.scorer is not squad_v2_scores or None in nulls:
        return None
    normalize = cache(task.normalize(review.data))
    values = squad_v2_values(review.predictions, review.examples, normalize)
    answered, unanswered = if_all_answered_or_none(found, golds_of(review.examples), values, normalize)
    null = np.array([0.0 if prediction is None else float(prediction.null_score or 0.0) for prediction in found])
    order = np.argsort(null, kind="stable")
    # A passage without words has a null score above all others, which is no place on an axis.
    at = np.unique(np.quantile(null, np.linspace(0, 1, POINTS), method="lower"))
    at = at[at < np.finfo(np.float32).max / 2]
    kept = np.searchsorted(null[order], at, side="right")  # how many questions are answered
    scores = {name: _at(answered[name][order], unanswered[name][order], kept) for name in answered}
    tuned = (task.score(review.predictions, review.examples, review.data).get("tuned") or {}).get("null_threshold")
    return Thresholds(at, scores, _used(null, [p is not None and not p.text for p in found]), tuned)


def _at(answered: Array, unanswered: Array, kept: Array) -> Array:
    """The mean score in percent if the first questions are answered and the others are not, for each number of them."""
    sums = np.append(0.0, np.cumsum(answered)), np.append(0.0, np.cumsum(unanswered))
    found: Array = 100 * (sums[0][kept] + sums[1][-1] - sums[1][kept]) / len(answered)
    return found


def _used(null: Array, abstained: list[bool]) -> float:
    """A threshold that makes a model abstain where it did; 0 if that one does, which is the default."""
    abstained_at = np.array(abstained, bool)
    if (abstained_at == (null > 0)).all():
        return 0.0
    return float(null[~abstained_at].max(initial=null.min() - 1))
