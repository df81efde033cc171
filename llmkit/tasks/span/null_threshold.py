"""Choose when to leave a question unanswered: the null threshold of SQuAD 2.0."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Two thresholds whose mean scores differ by less are tied: the difference is rounding of the running sum.
_TIE = 1e-9


def best_threshold(answered_scores: npt.ArrayLike, empty_scores: npt.ArrayLike, null_scores: npt.ArrayLike) -> float:
    """The threshold with the highest mean score, when a question is left empty where null_score > threshold.

    All three are [questions]: the score if the predicted text is given as the answer, the score if the answer
    is left empty (1 for a question without an answer, else 0), and the model's null score in any unit (a
    probability, a difference of logits). The search is exact: it tries every way of cutting the questions in
    two by null score, and never parts questions of equal null score.

    The threshold is the largest null score that is still answered, or well below all of them when leaving
    everything empty is best. Among tied cuts the highest wins, so that an answer is withheld only
    where withholding it gains something. A threshold fitted on the questions it is then reported on flatters
    the model: fit it on others.

    Raises ValueError when there are no questions, the lengths differ or a number is not finite.
    """
    answered, empty, null = (np.asarray(column, np.float64) for column in (answered_scores, empty_scores, null_scores))
    if null.ndim != 1 or null.size == 0 or not answered.shape == empty.shape == null.shape:
        shapes = f"{answered.shape}, {empty.shape} and {null.shape}"
        raise ValueError(f"best_threshold needs three columns of one length, at least 1; got {shapes}")
    if not all(np.isfinite(column).all() for column in (answered, empty, null)):
        raise ValueError("best_threshold got a score that is not finite")

    order = np.argsort(null)
    null = null[order]
    gain_of_answering_up_to = np.cumsum((answered - empty)[order])
    last_of_its_value = np.flatnonzero(np.append(null[1:] != null[:-1], True))
    # Not merely one step of float64 below: a caller may compare in float32.
    below_all = null[0] - abs(null[0]) - 1
    cuts = np.append(below_all, null[last_of_its_value])
    gains = np.append(0.0, gain_of_answering_up_to[last_of_its_value])
    best_cut = np.flatnonzero(gains >= gains.max() - _TIE * null.size)[-1]
    return float(cuts[best_cut])
