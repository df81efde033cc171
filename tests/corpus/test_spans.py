"""Spans of words: their lengths are SpanBERT's, and none goes on into the next document."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.corpus.spans import spans_of


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.data())
def test_words_are_cut_into_spans(words: int, seed: int, data: st.DataObject) -> None:
    borders = data.draw(st.lists(st.integers(0, words - 1), unique=True, max_size=5).map(sorted))
    spans = spans_of(words, np.array(borders, np.int64), np.random.default_rng(seed))
    assert len(spans) == words
    assert spans[0] == 0
    assert set(np.diff(spans)) <= {0, 1}, "a span is of neighbouring words"
    assert np.bincount(spans).max() <= 10
    assert all(spans[border] > spans[border - 1] for border in borders if border)


def test_lengths_are_geometric_up_to_ten() -> None:
    spans = spans_of(200_000, np.array([], np.int64), np.random.default_rng(0))
    lengths = np.bincount(np.bincount(spans), minlength=11)[1:] / (spans[-1] + 1)
    expected = 0.2 * 0.8 ** np.arange(10)
    assert lengths == pytest.approx(expected / expected.sum(), abs=0.005)
    assert 200_000 / (spans[-1] + 1) == pytest.approx(3.8, abs=0.05)
