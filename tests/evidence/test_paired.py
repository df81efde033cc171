"""The paired comparison of two systems, against truths that are known."""

from __future__ import annotations

import numpy as np
import pytest

from llmkit.evidence.paired import difference, holm
from llmkit.tasks.measures import Sums, mean_of


def scores(generator: np.random.Generator, difficulty: np.ndarray, skill: float) -> np.ndarray:
    """Whether a system answers questions of these difficulties."""
    return (generator.normal(size=len(difficulty)) + skill > difficulty).astype(float)


def test_difference_and_interval_are_those_of_the_examples() -> None:
    found = difference(mean_of([1, 1, 1, 0, 1, 1]), mean_of([0, 1, 0, 0, 0, 1]), range(6))
    assert found.value == pytest.approx(50)
    assert found.interval is not None
    assert found.interval[0] < 50 < found.interval[1]


def test_randomization_of_few_examples_has_the_exact_p_value() -> None:
    """Six questions that the first alone answers: of 2 ** 6 ways to swap them, two are as far apart."""
    found = difference(mean_of([1] * 6), mean_of([0] * 6), range(6))
    assert found.randomization == pytest.approx(2 / 64, abs=0.006)


def test_equal_systems_do_not_differ() -> None:
    found = difference(mean_of([1, 0, 1]), mean_of([1, 0, 1]), range(3))
    assert (found.value, found.interval, found.bootstrap, found.randomization) == (0, [0, 0], 1, 1)


def test_one_group_shows_no_variation() -> None:
    found = difference(mean_of([1, 1]), mean_of([0, 1]), ["a", "a"])
    assert (found.value, found.interval, found.bootstrap, found.randomization) == (50, None, None, None)


def test_neither_order_nor_names_of_examples_matter() -> None:
    a, b = np.array([1, 0, 1, 1, 0, 1.0]), np.array([0, 0, 1, 1, 1, 0.0])
    groups, order = ["x", "x", "y", "y", "z", "z"], [5, 2, 0, 1, 3, 4]
    other = [f"other {groups[place]}" for place in order]
    assert difference(mean_of(a), mean_of(b), groups) == difference(mean_of(a[order]), mean_of(b[order]), other)


def test_questions_on_one_paragraph_count_together() -> None:
    """The same answers, in 10 paragraphs of 30 questions that are all right or all wrong, say much less."""
    generator = np.random.default_rng(2)
    a, b = np.repeat(generator.random(10) < 0.8, 30), np.repeat(generator.random(10) < 0.5, 30)
    apart, together = (difference(mean_of(a), mean_of(b), groups) for groups in (range(300), np.arange(300) // 30))
    assert apart.bootstrap < 0.01
    assert together.bootstrap > 10 * apart.bootstrap


def test_mean_of_seeds_is_a_system() -> None:
    runs = [mean_of([1, 1, 0, 0]), mean_of([1, 0, 0, 0])]
    mean = runs[0].times(0.5).beside(runs[1], 0.5)
    found = difference(mean, mean_of([0, 0, 0, 1]), range(4))
    assert found.value == pytest.approx(37.5 - 25)
    assert found.randomization is None  # two runs cannot be swapped with one


def test_scores_that_are_no_means_are_compared_as_such() -> None:
    """F1 of entities of the whole set, not the mean over sentences."""

    def f1(sums: np.ndarray) -> np.ndarray:
        return 100 * 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2])

    first, second = (Sums(np.array(counts, float), f1) for counts in ([[3, 3, 4], [0, 2, 1]], [[2, 3, 4], [1, 1, 1]]))
    assert difference(first, second, range(2)).value == pytest.approx(100 * (6 / 10 - 6 / 9))


@pytest.mark.parametrize(
    ("given", "corrected"),
    [([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]), ([0.5, 0.9], [1.0, 1.0]), ([0.02], [0.02]), ([], [])],
)
def test_holm(given: list[float], corrected: list[float]) -> None:
    assert holm(given) == pytest.approx(corrected)


@pytest.mark.slow
def test_one_of_twenty_pairs_without_a_difference_is_called_significant() -> None:
    generator = np.random.default_rng(1)
    called = {"bootstrap": 0, "randomization": 0}
    for seed in range(1000):
        difficulty = np.repeat(generator.normal(size=100), 3) + generator.normal(size=300)  # 100 paragraphs
        a, b = (mean_of(scores(generator, difficulty, 0.8)) for _ in range(2))
        found = difference(a, b, (np.arange(300) // 3).tolist(), resamples=1000, seed=seed)
        for name in called:
            called[name] += getattr(found, name) < 0.05
    for number in called.values():
        assert 32 <= number <= 68, "99 % of all series of 1,000 at 5 %"


def test_one_point_on_many_questions_is_found() -> None:
    """A point of F1 on 10,000 questions: systems that agree on most of them, as fine-tuned models do."""
    generator = np.random.default_rng(3)
    first = generator.random(10_000)
    second = np.where(
        generator.random(10_000) < 0.1, np.clip(first - 0.1 + 0.4 * (generator.random(10_000) - 0.5), 0, 1), first
    )
    second -= second.mean() - first.mean() + 0.01  # exactly a point less
    found = difference(mean_of(first), mean_of(second), (np.arange(10_000) // 5).tolist(), resamples=2000)
    assert found.value == pytest.approx(1)
    assert found.bootstrap < 0.01
    assert found.randomization < 0.01
