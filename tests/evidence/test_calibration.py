"""Calibration: known answers, scikit-learn's own scores, and simulated models that are too sure by a known amount."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llmkit.evidence.calibration import at_temperature, bins, calibration, fitted, scores, temperature
from llmkit.tasks.review import Claims

pytest.importorskip("sklearn")


def simulated(too_sure: float, rows: int = 3000) -> Claims:
    """Two choices, with logits that are larger by a factor than those which the truth is drawn with."""
    generator = np.random.default_rng(3)
    logits = np.abs(generator.normal(1.0, 1.0, rows))
    right = generator.random(rows) < 1 / (1 + np.exp(-logits))
    sure = 1 / (1 + np.exp(-too_sure * logits))
    groups = [str(number // 3) for number in range(rows)]
    return Claims("questions", sure, right, groups, np.column_stack([sure, 1 - sure]))


def test_the_error_of_a_few_rows() -> None:
    claims = Claims("rows", np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, False, True, True]), list("abcd"))
    found = scores(claims)
    assert found.error.value == pytest.approx(100 * (0.5 * 0.4 + 0.5 * 0.4))  # 90 % against 50, 60 % against 100
    assert found.excess.value == pytest.approx(100 * (0.75 - 0.75))
    assert found.brier.value == pytest.approx((0.01 + 0.81 + 0.16 + 0.16) / 4)
    assert found.area.value == pytest.approx(100 * (0.5 * 0.5 + 0.5 * 0.25))  # half covered, then all
    assert [each.rows for each in bins(claims)] == [2, 2]


def test_the_area_with_and_without_order() -> None:
    right = np.arange(1000) % 10 != 0
    falling = Claims("rows", np.linspace(1, 0.5, 1000), np.sort(right)[::-1], list(range(1000)))
    found = calibration(falling)
    assert found is not None
    assert found.scores.area.value == pytest.approx(found.area_at_best)
    assert found.area_at_random == pytest.approx(10)
    assert found.coverage[-1] == pytest.approx(100)
    assert found.risk[-1] == pytest.approx(10)
    mixed = replace(falling, right=right)
    assert scores(mixed).area.value == pytest.approx(10, abs=1)


def test_bins_and_brier_score_are_those_of_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    claims = simulated(2.0)
    right, sure = calibration_curve(claims.right, claims.confidence, n_bins=15)
    assert [each.right for each in bins(claims)] == pytest.approx((100 * right).tolist())
    assert [each.confidence for each in bins(claims)] == pytest.approx((100 * sure).tolist())
    assert scores(claims).brier.value == pytest.approx(brier_score_loss(claims.right, claims.confidence))


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 2.0])
def test_the_temperature_is_found_and_helps_on_the_other_half(too_sure: float) -> None:
    claims = simulated(too_sure)
    assert fitted(claims) == pytest.approx(too_sure, rel=0.1)
    found = temperature(claims)
    assert found is not None
    assert found.fitted_on + found.reported_on == len(claims.right)
    if too_sure != 1.0:
        assert found.after.error.value < 0.5 * found.before.error.value
        assert np.sign(found.before.excess.value) == np.sign(too_sure - 1)
    without_choices = replace(claims, choices=None)  # of two choices, they say no more than the confidence
    assert at_temperature(without_choices, 2.0) == pytest.approx(at_temperature(claims, 2.0))


def test_a_temperature_of_many_choices_is_that_of_their_logits() -> None:
    logits = np.array([[4.0, 2.0, 1.0], [1.0, 3.0, -np.inf]])
    powers = np.exp(logits)
    choices = powers / powers.sum(axis=1, keepdims=True)
    halved = np.exp(logits / 2)
    claims = Claims("rows", choices[:, 0], np.array([True, False]), ["a", "b"], choices)
    assert at_temperature(claims, 2.0) == pytest.approx(halved[:, 0] / halved.sum(axis=1))
    assert at_temperature(claims, 1.0) == pytest.approx(claims.confidence)


def test_halves_do_not_share_groups_nor_depend_on_the_order() -> None:
    claims = simulated(2.0, 900)
    order = np.random.default_rng(0).permutation(900)
    assert claims.choices is not None
    shuffled = Claims(
        "rows",
        claims.confidence[order],
        claims.right[order],
        [claims.groups[row] for row in order],
        claims.choices[order],
    )
    first, second = temperature(claims), temperature(shuffled)
    assert first is not None
    assert second is not None
    assert first.fitted_on % 3 == 0  # three rows to a group
    assert (first.fitted_on, first.value) == (second.fitted_on, pytest.approx(second.value))


def test_intervals_hold_the_truth_of_a_model_that_is_too_sure() -> None:
    many = replace(simulated(2.0, 300_000), groups=[0] * 300_000)
    truth = sum(each.rows * abs(each.confidence - each.right) for each in bins(many)) / 300_000
    found = scores(simulated(2.0)).error
    assert found.interval is not None
    assert found.interval[0] <= truth <= found.interval[1]


def test_what_says_nothing() -> None:
    nothing = Claims("rows", np.array([]), np.array([], bool), [])
    assert calibration(nothing) is None
    assert calibration(Claims("rows", np.ones(4), np.ones(4, bool), list("abcd"))) is None
    all_right = Claims("rows", np.array([0.9, 0.8]), np.ones(2, bool), ["a", "b"])
    found = calibration(all_right)
    assert found is not None
    assert found.temperature is None
    assert found.area_at_best == 0
