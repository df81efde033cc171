"""The null threshold is the best of all, whatever the order of the questions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.tasks.span.null_threshold import best_threshold

properties = settings(deadline=None, database=None)


def mean_at(threshold: float, answered: np.ndarray, empty: np.ndarray, null: np.ndarray) -> float:
    return float(np.where(null > threshold, empty, answered).mean())


question = st.tuples(
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([0.0, 1.0]),
    st.integers(-3, 3).map(float) | st.floats(-1e30, 1e30),
)


@properties
@given(st.lists(question, min_size=1, max_size=30))
def test_best_threshold_is_the_best_of_all(questions: list[tuple[float, float, float]]) -> None:
    answered, empty, null = np.array(questions).T
    threshold = best_threshold(answered, empty, null)
    cuts = [-math.inf, *sorted(set(null))]
    means = [mean_at(cut, answered, empty, null) for cut in cuts]
    best_cut = max(cut for cut, mean in zip(cuts, means, strict=True) if mean >= max(means) - 1e-9)
    np.testing.assert_array_equal(null > threshold, null > best_cut)
    assert math.isfinite(threshold)


@properties
@given(st.lists(question, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_rounding_changes_no_abstention(questions: list[Any], rng: Any) -> None:
    """Another batch size moves null scores a little; a threshold is as far from them as it can be."""
    answered, empty, null = np.array(questions).T
    null = null.astype(np.float32).astype(np.float64)  # as logits are, and as they are compared
    threshold = best_threshold(answered, empty, null)
    gaps = np.diff(np.unique(null))
    step = min(gaps.min(initial=1.0) / 4, 0.25)
    moved = null + [rng.uniform(-step, step) for _ in null]
    np.testing.assert_array_equal(moved > threshold, null > threshold)


@properties
@given(st.lists(question, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_best_threshold_ignores_the_order_of_questions(questions: list[Any], rng: Any) -> None:
    shuffled = questions.copy()
    rng.shuffle(shuffled)
    assert best_threshold(*np.array(questions).T) == best_threshold(*np.array(shuffled).T)


def test_best_threshold_by_hand() -> None:
    #                      clear answer, clear null, null scores that tie
    assert best_threshold([1.0, 0.8, 0.0], [0.0, 0.0, 1.0], [-2.0, 3.0, 5.0]) == 4.0
    # Where nothing is gained by leaving a wrong answer out, it is given.
    assert best_threshold([1.0, 0.0], [0.0, 0.0], [0.1, 0.9]) > 1.0
    # Questions of equal null score go together, for better or worse.
    assert best_threshold([1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]) < 0.0


def test_neighbouring_floats_are_parted() -> None:
    below = 1 + 2**-52
    assert best_threshold([1.0, 0.0], [0.0, 1.0], [below, np.nextafter(below, 2)]) == below


def test_best_threshold_beyond_all_survives_float32() -> None:
    null = np.array([-7.5, -7.25, 1000.0], np.float32)
    never, always = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    assert (null > np.float32(best_threshold(never, always, null))).all()
    assert (null < np.float32(best_threshold(always, never, null)) - 1).all()


@pytest.mark.parametrize(
    "columns",
    [([], [], []), ([1.0], [0.0, 0.0], [0.0]), ([1.0], [0.0], [math.nan]), ([[1.0]], [[0.0]], [[0.0]])],
    ids=["no questions", "lengths", "nan", "matrix"],
)
def test_best_threshold_refuses_nonsense(columns: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match="best_threshold"):
        best_threshold(*columns)
