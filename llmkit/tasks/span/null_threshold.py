"""Choose the null threshold of SQuAD 2.0, above which a model abstains."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Mean scores that differ by less than this are tied: the cumulative sum has rounding errors.
_TIE = 1e-9


def best_threshold(answered_scores: npt.ArrayLike, empty_scores: npt.ArrayLike, null_scores: npt.ArrayLike) -> float:
    """The threshold with the highest mean score, if the model abstains whenever null_score > threshold.

    All three arguments are [questions]: the score of the predicted answer, the score of the empty answer (1 for a
    question without an answer, else 0), and the model's null score in any unit (a probability, a difference of logits).
    The search is exact: it tries every cut between distinct null scores.

    The threshold is the middle between the largest null score that is still answered and the next, so that rounding,
    which differs with the batch size, does not carry a question across. It is well above or below all null scores if it
    is best to answer or to abstain on every question. Of tied cuts the highest wins, so that the model abstains only if
    that improves the score. Do not report scores on the questions that the threshold was tuned on: they are too good.

    Raises ValueError if there are no questions, if the lengths differ, or if a number is not finite.
    """
    answered, empty, null = (np.asarray(column, np.float64) for column in (answered_scores, empty_scores, null_scores))
    if null.ndim != 1 or null.size == 0 or not answered.shape == empty.shape == null.shape:
        shapes = f"{answered.shape}, {empty.shape} and {null.shape}"
        raise ValueError(f"best_threshold needs three arrays of the same length, at least 1; got {shapes}")
    if not all(np.isfinite(column).all() for column in (answered, empty, null)):
        raise ValueError("best_threshold got a score that is not finite")

    order = np.argsort(null)
    null = null[order]
    gain_of_answering_up_to = np.cumsum((answered - empty)[order])
    last_of_its_value = np.flatnonzero(np.append(null[1:] != null[:-1], True))
    gains = np.append(0.0, gain_of_answering_up_to[last_of_its_value])
    best_cut = int(np.flatnonzero(gains >= gains.max() - _TIE * null.size)[-1])
    values = null[last_of_its_value]
    if best_cut == 0:
        return float(values[0] - abs(values[0]) - 1)
    if best_cut == len(values):
        return float(values[-1] + abs(values[-1]) + 1)
    below, above = values[best_cut - 1 : best_cut + 1]
    middle = below + (above - below) / 2
    return float(middle if middle < above else below)  # neighbouring floats have nothing between them
