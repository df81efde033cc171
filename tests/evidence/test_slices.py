"""Scores by slice: a slice that is worse is found, and where there is nothing to find, nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from llmkit.evidence.slices import LEAST, MOST, OTHERS, cuts
from llmkit.tasks.bootstrap import interval
from llmkit.tasks.label.metrics import accuracy, measure_of_labels, measure_of_numbers
from llmkit.tasks.measures import Measured, mean_of
from llmkit.tasks.slices import Sliced, Slicing, in_quarters


def answered(right: np.ndarray, slicings: list[Slicing], groups: list[int] | None = None) -> Sliced:
    """Questions of which some are right."""
    return Sliced("questions", "f1", Measured(mean_of(right), groups or list(range(len(right)))), slicings)


def drawn(shares: dict[str, float], rows: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Answers to `rows` questions of each slice, of which a share is right."""
    generator = np.random.default_rng(seed)
    names = [name for name in shares for _ in range(rows)]
    return generator.random(len(names)) < [shares[name] for name in names], names


def test_the_score_of_a_slice_is_the_measure_of_its_rows() -> None:
    right, names = drawn({"a": 0.9, "b": 0.5}, 200)
    (cut,) = cuts([answered(right, [Slicing("kind", names)])])
    a, b = cut.slices
    assert (a.name, a.rows, a.score) == ("a", 200, pytest.approx(100 * right[:200].mean()))
    assert b.against is not None
    assert b.against.rest == pytest.approx(a.score)
    assert b.against.difference == pytest.approx(b.score - a.score)
    assert a.interval == pytest.approx(interval(mean_of(right[:200]), range(200)), abs=1.5)


def test_labels_are_counted_as_in_their_own_measure() -> None:
    """Its rows are put in another order."""
    generator = np.random.default_rng(0)
    gold, found = (generator.choice(["x", "y", "z"], 300).tolist() for _ in range(2))
    names = generator.choice(["a", "b"], 300).tolist()
    measured = Measured(measure_of_labels(gold, found, (), accuracy), list(range(300)))
    (cut,) = cuts([Sliced("examples", "accuracy", measured, [Slicing("kind", names)])])
    for each in cut.slices:
        rows = [row for row in range(300) if names[row] == each.name]
        assert each.score == pytest.approx(100 * np.mean([gold[row] == found[row] for row in rows]))


def test_a_planted_weakness_is_named_and_nothing_else() -> None:
    right, names = drawn({"why": 0.5, "who": 0.8, "when": 0.8, "where": 0.8}, 150)
    other = np.random.default_rng(1).choice(["short", "long"], len(right)).tolist()
    found = cuts([answered(right, [Slicing("question word", names), Slicing("length", other)])])
    assert [each.name for cut in found for each in cut.worse] == ["why"]


def test_of_an_error_the_higher_one_is_worse() -> None:
    generator = np.random.default_rng(0)
    gold, names = generator.random(400), ["near"] * 200 + ["far"] * 200
    found = gold + generator.normal(size=400) * np.repeat([0.1, 0.5], 200)
    measured = Measured(measure_of_numbers(gold, found, "mse"), list(range(400)))
    (cut,) = cuts([Sliced("examples", "mse", measured, [Slicing("where", names)], is_error=True)])
    assert [each.name for each in cut.worse] == ["far"]


def test_questions_of_few_passages_say_nothing() -> None:
    """All questions of a slice are on two passages: they may be wrong together."""
    right, names = np.repeat([1.0, 0.0], (300, 60)), ["a"] * 300 + ["b"] * 60
    groups = [*np.repeat(range(100), 3).tolist(), *np.repeat((100, 101), 30).tolist()]
    (cut,) = cuts([answered(right, [Slicing("kind", names)], groups)])
    assert [each.against for each in cut.slices] == [None, None]
    assert not cut.worse


def test_a_small_slice_is_shown_but_not_tested() -> None:
    right, names = drawn({"a": 0.9, "b": 0.1}, 100)
    (cut,) = cuts([answered(right[: 100 + LEAST - 1], [Slicing("kind", names[: 100 + LEAST - 1])])])
    assert [(each.name, each.against) for each in cut.slices] == [("a", None), ("b", None)]


def test_many_slices_end_in_others() -> None:
    names = [f"label {number}" for number in range(40) for _ in range(40 - number)]
    (cut,) = cuts([answered(np.ones(len(names)), [Slicing("gold label", names)])])
    assert [each.name for each in cut.slices] == [*(f"label {number}" for number in range(MOST)), OTHERS]
    assert sum(each.rows for each in cut.slices) == len(names)


def test_rows_without_a_slice_belong_to_the_rest() -> None:
    right, _ = drawn({"a": 0.5}, 120)
    names = ["a"] * 40 + ["b"] * 40 + [None] * 40
    (cut,) = cuts([answered(right, [Slicing("kind", names)])])
    assert cut.slices[0].against is not None
    assert cut.slices[0].against.rest == pytest.approx(100 * right[40:].mean())


def test_rows_of_other_parts_are_not_scored() -> None:
    """MNLI's headline score is of its matched part, which comes first."""
    right, names = drawn({"a": 0.9, "b": 0.5}, 50)
    (cut,) = cuts([answered(right, [Slicing("kind", [*names, "a", "a", "c"])])])
    assert [(each.name, each.rows) for each in cut.slices] == [("a", 50), ("b", 50)]


def test_a_cut_with_one_slice_is_left_out() -> None:
    assert cuts([answered(np.ones(50), [Slicing("kind", ["a"] * 50)])]) == []


@pytest.mark.slow
def test_where_there_is_nothing_to_find_five_percent_of_reports_say_something() -> None:
    """Ten slices in two cuts, and questions of a passage that are right or wrong together."""
    generator = np.random.default_rng(0)
    reports = 120
    found = 0
    for _ in range(reports):
        easy = np.repeat(generator.beta(4, 2, size=100), 3)
        right = generator.random(300) < easy
        slicings = [Slicing(name, generator.choice(list("abcde"), 300).tolist()) for name in ("one", "two")]
        groups = np.repeat(range(100), 3).tolist()
        found += any(cut.worse for cut in cuts([answered(right, slicings, groups)], resamples=200))
    assert found <= 0.05 * reports + 3 * np.sqrt(0.05 * 0.95 * reports)


def test_quarters_have_about_as_many_rows_and_names_that_one_can_read() -> None:
    found = in_quarters("words", [*range(1, 101), np.nan])
    assert list(found.order) == ["1 to 26", "27 to 51", "52 to 76", "77 to 100"]
    assert (found.of[0], found.of[99], found.of[100]) == ("1 to 26", "77 to 100", None)
    assert list(in_quarters("words", [1, 1, 1, 1, 2]).order) == ["1", "2"]
    assert list(in_quarters("words", [3, 3, 3]).order) == ["3"]
    assert in_quarters("words", [np.nan, np.nan]).of == [None, None]
