"""Bootstrap intervals cover the truth where examples of a group agree, and do not depend on their order."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmkit.tasks.bootstrap import interval
from llmkit.tasks.measures import Pairs, mean_of

properties = settings(deadline=None, database=None)


def cluster_interval(values: Any, groups: Any, **options: Any) -> list[float] | None:
    """The interval of a mean."""
    return interval(mean_of(values, 1), groups, **options)


def paragraphs(
    rng: np.random.Generator, *, count: int = 100, per_group: int = 5, agreement: float
) -> tuple[np.ndarray, np.ndarray]:
    """0/1 scores with true mean 1/2; `agreement` is the share of questions that follow their paragraph."""
    groups = np.repeat(np.arange(count), per_group)
    of_group = rng.integers(2, size=count)[groups]
    own = rng.integers(2, size=groups.size)
    return np.where(rng.random(groups.size) < agreement, of_group, own).astype(float), groups


def test_interval_covers_the_truth_where_resampling_questions_does_not() -> None:
    rng = np.random.default_rng(0)
    trials = 200
    covered = {"groups": 0, "questions": 0}
    for _ in range(trials):
        values, groups = paragraphs(rng, agreement=0.9)
        for name, units in (("groups", groups), ("questions", np.arange(values.size))):
            ends = cluster_interval(values, units.tolist(), resamples=300)
            assert ends is not None
            covered[name] += ends[0] <= 0.5 <= ends[1]
    # 95 % nominal; three standard deviations of a share of 200 trials are 4.6 points.
    assert 0.90 <= covered["groups"] / trials <= 0.995
    assert covered["questions"] / trials < 0.80


def test_interval_is_wider_only_when_questions_of_a_group_agree() -> None:
    def width_ratio(agreement: float) -> float:
        values, groups = paragraphs(np.random.default_rng(1), count=400, agreement=agreement)
        clustered, single = (
            cluster_interval(values, units.tolist(), resamples=2000) for units in (groups, np.arange(values.size))
        )
        assert clustered is not None
        assert single is not None
        return (clustered[1] - clustered[0]) / (single[1] - single[0])

    assert width_ratio(0.0) == pytest.approx(1.0, abs=0.12)
    assert width_ratio(1.0) == pytest.approx(math.sqrt(5), rel=0.12)  # five questions then count as one


def test_interval_equals_the_textbook_resampling() -> None:
    """The same statistic taken question by question, with unequal groups, agrees within Monte Carlo error."""
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 12, size=60)
    groups = np.repeat(np.arange(60), sizes)
    values = np.clip(rng.normal(0.5 + 0.02 * sizes[groups], 0.2), 0, 1)
    members = [values[groups == group] for group in range(60)]
    means = [np.concatenate([members[group] for group in rng.integers(60, size=60)]).mean() for _ in range(4000)]
    ends = cluster_interval(values, groups.tolist(), resamples=4000, level=0.9)
    assert ends == pytest.approx(np.quantile(means, (0.05, 0.95)).tolist(), abs=0.004)


@properties
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=2, max_size=40),
    st.randoms(use_true_random=False),
)
def test_interval_ignores_order_and_names(questions: list[tuple[float, int]], rng: Any) -> None:
    assume(len({group for _, group in questions}) > 1)
    shuffled = questions.copy()
    rng.shuffle(shuffled)
    values, groups = zip(*questions, strict=True)
    other_values, other_groups = zip(*shuffled, strict=True)
    ends = cluster_interval(values, groups, resamples=50)
    assert ends is not None
    assert ends == cluster_interval(values, groups, resamples=50)
    assert ends == cluster_interval(other_values, [f"page {group}" for group in other_groups], resamples=50)
    # A mean of groups is a weighted mean of values, up to rounding.
    assert min(values) - 1e-12 <= ends[0] <= ends[1] <= max(values) + 1e-12


def test_interval_follows_seed_and_level() -> None:
    values, groups = paragraphs(np.random.default_rng(3), agreement=0.5)
    narrow, wide = (cluster_interval(values, groups.tolist(), level=level) for level in (0.5, 0.99))
    assert narrow is not None
    assert wide is not None
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]
    assert cluster_interval(values, groups.tolist(), seed=1) != cluster_interval(values, groups.tolist(), seed=0)


def test_one_group_has_no_interval() -> None:
    assert cluster_interval([0.0, 1.0, 1.0], ["p", "p", "p"]) is None


def test_interval_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="no examples"):
        cluster_interval([], [])
    with pytest.raises(ValueError, match="level must lie"):
        cluster_interval([1.0, 0.0], ["a", "b"], level=95)


def test_interval_of_many_groups_needs_little_memory() -> None:
    values, groups = paragraphs(np.random.default_rng(4), count=20_000, per_group=2, agreement=0.5)
    names = groups.tolist()
    tracemalloc.start()
    try:
        cluster_interval(values, names, resamples=200)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50e6  # all draws at once would take 64 MB here


def weighted_mean(gold: Any, found: Any, weights: Any) -> Any:
    return weights @ found / weights.sum(axis=1)


def test_a_mean_of_examples_has_the_interval_of_a_mean_of_sums() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(80), rng.integers(1, 6, size=80)).tolist()
    values = rng.random(len(groups))
    pairs = Pairs(np.zeros(len(groups)), values[:, None], weighted_mean)
    ends = interval(pairs, groups, resamples=4000)
    assert ends == pytest.approx(cluster_interval(values, groups, resamples=4000), abs=0.005)
    order = rng.permutation(len(groups))
    shuffled = Pairs(np.zeros(len(groups)), values[order, None], weighted_mean)
    assert interval(shuffled, [f"page {groups[row]}" for row in order], resamples=4000) == ends


def test_whole_groups_are_drawn() -> None:
    groups = ["x", "y", "x", "z", "y", "x"]
    drawn = []

    def note(gold: Any, found: Any, weights: Any) -> Any:
        drawn.extend(dict(zip(gold.tolist(), row, strict=True)) for row in weights.tolist())
        return np.zeros(len(weights))

    interval(Pairs(np.arange(6), np.arange(6)[:, None], note), groups, resamples=20)
    assert len(drawn) == 20
    for times in drawn:
        assert times[0] == times[2] == times[5]
        assert times[1] == times[4]
        assert times[0] + times[1] + times[3] == 3
