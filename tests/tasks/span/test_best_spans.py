"""The order of spans: which of several equal ones is taken does not depend on the machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.tasks.span import best_spans as search


def best_spans(start: Any, end: Any, allowed: Any, longest: int, count: int) -> list[tuple[int, int, float]]:
    """(first token, last token, score) of each span of one window."""
    return spans_of_each([(start, end, allowed)], longest, count)[0]


def spans_of_each(windows: list[tuple[Any, Any, Any]], longest: int, count: int) -> list[list[tuple[int, int, float]]]:
    """The spans of each window, all searched at once."""
    found: list[list[tuple[int, int, float]]] = [[] for _ in windows]
    start, end, allowed = (search.stacked(column, 0) for column in zip(*windows, strict=True))
    spans = search.best_spans(start, end, allowed, longest, count)
    for window, *span in zip(*(column.tolist() for column in spans), strict=True):
        found[window].append(tuple(span))
    return found


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), min_size=1, max_size=14),
    st.integers(1, 20),
    st.integers(1, 30),
)
def test_of_equal_spans_the_earlier_then_the_shorter_is_kept(
    tokens: list[tuple[int, int, bool]], longest: int, count: int
) -> None:
    """Three values for a logit: nearly every list ends inside a tie."""
    start, end, allowed = (np.array(column) for column in zip(*tokens, strict=True))
    legal = [
        (first, last, float(start[first] + end[last]))
        for first in range(len(tokens))
        for last in range(first, min(len(tokens), first + longest))
        if allowed[first] and allowed[last]
    ]
    expected = sorted(legal, key=lambda span: (-span[2], span[0], span[1]))[:count]
    assert best_spans(start.astype(np.float32), end.astype(np.float32), allowed, longest, count) == expected


def test_a_sum_that_float32_would_round_still_decides() -> None:
    start = np.array([2.0**24, 2.0**24], np.float32)
    end = np.array([0.0, 1.0], np.float32)
    assert best_spans(start, end, np.array([True, True]), 1, 1) == [(1, 1, 2.0**24 + 1)]


def test_an_answer_may_reach_over_a_token_that_none_may_begin_or_end_on() -> None:
    logits = np.zeros(3, np.float32)
    spans = best_spans(logits, logits, np.array([True, False, True]), 3, 9)
    assert [(first, last) for first, last, _ in spans] == [(0, 0), (0, 2), (2, 2)]


def brute_force(start: Any, end: Any, allowed: Any, longest: int) -> list[tuple[float, int, int]]:
    spans = [
        (-(start[i] + end[j]), i, j)
        for i in range(len(start))
        for j in range(i, min(len(start), i + longest))
        if allowed[i] and allowed[j]
    ]
    return sorted(spans)


@given(st.data(), st.integers(1, 12), st.integers(1, 5), st.integers(1, 8))
def test_spans_are_the_best_of_all(data: Any, size: int, longest: int, count: int) -> None:
    number = st.integers(-8, 8).map(float)
    start = np.array(data.draw(st.lists(number, min_size=size, max_size=size)))
    end = np.array(data.draw(st.lists(number, min_size=size, max_size=size)))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    found = best_spans(start, end, allowed, longest, count)
    expected = brute_force(start, end, allowed, longest)
    assert [-score for _, _, score in found] == [score for score, _, _ in expected[:count]]
    legal = {(i, j) for _, i, j in expected}
    assert all((i, j) in legal and score == start[i] + end[j] for i, j, score in found)
    assert len({(i, j) for i, j, _ in found}) == len(found)


def all_spans_at_once(
    start_logits: Any, end_logits: Any, allowed: Any, max_length: int, count: int
) -> list[tuple[int, int, float]]:
    """The same search without leaving any start out: the score of every span, then the best of them."""
    start = np.where(allowed, start_logits, -np.inf).astype(np.float64)
    end = np.where(allowed, end_logits, -np.inf).astype(np.float64)
    width = min(max_length, len(start))
    padded = np.concatenate([end, np.full(width - 1, -np.inf)])
    scores = (start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, width)).ravel()
    count = min(count, len(scores))
    top = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    top = top[np.argsort(-scores[top], kind="stable")][:count]
    found = [(int(n // width), int(n // width + n % width), float(scores[n])) for n in top]
    return [span for span in found if np.isfinite(span[2])]


@pytest.mark.parametrize("longest", [1, 7, 30, 500])
def test_windows_of_real_size_give_the_same_spans_to_the_last_bit(longest: int) -> None:
    """Logits as a model gives them, with a clear answer or without, and rounded ones, of which many are equal."""
    random = np.random.default_rng(longest)
    windows = []
    for number in range(60):
        size = int(random.integers(2, 384))
        logits = random.normal(0, 3, (2, size)).astype(np.float32)
        logits[:, random.integers(size)] += 20 * (number % 2)
        allowed = (np.arange(size) >= size // 5) & (random.random(size) > 0.1 * (number % 5))
        windows += [(*logits, allowed), (*logits.round(), allowed)]
    assert spans_of_each(windows, longest, 20) == [all_spans_at_once(*window, longest, 20) for window in windows]
