"""Scores of clean and touched examples: is a difference more than chance?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from llmkit.evidence.audit.subset_scores import drawn_sides, gap
from llmkit.tasks.measures import mean_of
from llmkit.tasks.values import Array


def gap_of(right: Sequence[float], touched: Array, groups: Array | None = None) -> tuple[float, list[float], float]:
    """The difference where a mask of the examples is touched, its interval and its p-value."""
    values, mask = np.array(right), np.array(touched)
    value = 100 * float(values[~mask].mean() - values[mask].mean())
    measure = mean_of(values)
    sides = drawn_sides(np.arange(len(values)) if groups is None else groups, mask)
    found = gap(value, np.concatenate([measure.at(ours) - measure.at(theirs) for ours, theirs in sides]))
    assert found.interval is not None
    assert found.p_value is not None
    assert found.value == value
    return value, found.interval, found.p_value


def first(touched: int, of: int) -> Array:
    mask: Array = np.arange(of) < touched
    return mask


def test_four_right_answers_of_four_prove_nothing() -> None:
    value, interval, p_value = gap_of([1.0] * 4 + [1.0] * 93 + [0.0] * 7, first(4, 104))
    assert value == pytest.approx(-7)
    assert p_value > 0.5
    assert interval[0] < 0 < interval[1]


def test_examples_that_were_learned_by_heart_are_told_from_others() -> None:
    value, interval, p_value = gap_of([1.0] * 60 + [1.0, 0.0] * 120, first(60, 300))
    assert value == pytest.approx(-50)
    assert p_value < 0.001
    assert interval[0] < -50 < interval[1] < -30


def test_questions_on_one_passage_count_as_one_group() -> None:
    right = [1.0] * 40 + [1.0] * 60 + [0.0] * 60
    alone = gap_of(right, first(40, 160))
    together = gap_of(right, first(40, 160), groups=np.arange(160) // 20)
    assert together[2] > 10 * alone[2]


def test_a_side_has_as_many_examples_as_in_truth_from_as_many_groups() -> None:
    groups, touched = np.array([0, 0, 0, 1, 1, 2]), np.array([True, True, False, False, True, False])
    for clean, there in drawn_sides(groups, touched):
        assert set(clean.sum(axis=1)) == set(there.sum(axis=1)) == {3}
        assert (np.add.reduceat(there > 0, [0, 3, 5], axis=1).astype(bool).sum(axis=1) <= 2).all()


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_chance_is_called_a_difference_one_time_in_twenty(whole: bool) -> None:
    """Questions on one passage succeed together. Touched are whole passages, or single questions."""
    chance, trials, found = np.random.default_rng(0), 1000, []
    groups = np.arange(200) // 4
    for _ in range(trials):
        right = chance.random(200) < np.repeat(chance.beta(2, 1, 50), 4)
        touched = np.isin(groups if whole else np.arange(200), chance.choice(50 if whole else 200, 15, replace=False))
        found.append(gap_of(right.astype(float).tolist(), touched, groups)[2])
    assert 0.035 < np.mean(np.array(found) < 0.05) < 0.065
