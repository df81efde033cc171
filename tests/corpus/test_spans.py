"""Spans of words: their lengths are SpanBERT's, and they begin anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.corpus.spans import spans_of


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_words_are_cut_into_spans_around_a_ring(words: int, seed: int) -> None:
    spans, places = spans_of(words, np.random.default_rng(seed))
    assert sorted(places) == list(range(words))
    assert set(np.diff(places)) <= {1, 1 - words}, "neighbours stay neighbours"
    around = spans[np.argsort(places)]
    assert around[0] == 0
    assert set(np.diff(around)) <= {0, 1}, "a span is of neighbouring words"
    assert np.bincount(spans).max() <= 10


def test_the_ring_begins_anywhere() -> None:
    random = np.random.default_rng(0)
    assert {int(spans_of(5, random)[1][0]) for _ in range(100)} == set(range(5))


def test_lengths_are_geometric_up_to_ten() -> None:
    spans, _ = spans_of(200_000, np.random.default_rng(0))
    lengths = np.bincount(np.bincount(spans), minlength=11)[1:] / (spans.max() + 1)
    expected = 0.2 * 0.8 ** np.arange(10)
    assert lengths == pytest.approx(expected / expected.sum(), abs=0.005)
    assert 200_000 / (spans.max() + 1) == pytest.approx(3.8, abs=0.05)
