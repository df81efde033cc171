"""Scores of an answer are those of the official scripts, pair by pair, and what holds for any text."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT
from support.recordings import recorded

from llmkit.tasks.span.text_overlap import exact_match, exact_match_v2, f1, f1_v2, normalize_answer

properties = settings(deadline=None, database=None)
PAIRS: list[list[Any]] = recorded("official_squad_scores.jsonl.gz")


def test_v1_scores_equal_the_official_script() -> None:
    recorded = [(text, golds, v1) for text, golds, v1, _ in PAIRS if v1 is not None]
    assert len(recorded) > 10_000
    ours = np.array([[exact_match(text, golds), f1(text, golds)] for text, golds, _ in recorded])
    np.testing.assert_allclose(ours, np.array([v1 for _, _, v1 in recorded]), rtol=0, atol=1e-9)


def test_v2_scores_equal_the_official_script() -> None:
    assert len(PAIRS) > 10_000
    ours = np.array([[exact_match_v2(text, golds), f1_v2(text, golds)] for text, golds, _, _ in PAIRS])
    np.testing.assert_allclose(ours, np.array([v2 for *_, v2 in PAIRS]), rtol=0, atol=1e-9)


def test_the_recorded_pairs_hold_the_hard_cases() -> None:
    texts = {text for text, *_ in PAIRS} | {gold for _, golds, *_ in PAIRS for gold in golds}
    for hard in ("\u00a0", "\u3000", "\u0301", "東京", "\uff34\uff48\uff45", "🙂", "İ", "\u2019"):
        assert sum(hard in text for text in texts) > 20, hard
    assert sum(len(golds) > 1 for _, golds, *_ in PAIRS) > 1000
    assert sum(not golds for _, golds, *_ in PAIRS) > 1000
    assert sum(bool(text) and not normalize_answer(text) for text, *_ in PAIRS) > 100
    assert sum(0 < v2[1] < 1 for *_, v2 in PAIRS) > 1000
    assert sum(v1 is not None and v1 != v2 for *_, v1, v2 in PAIRS) > 100


texts = st.text(max_size=20) | st.lists(st.sampled_from(["the", "A", "river", "bank.", "é", "東京"])).map(" ".join)
gold_lists = st.lists(texts, min_size=1, max_size=4)


@properties
@given(texts, gold_lists, st.randoms(use_true_random=False))
def test_scores_are_bounded_and_ignore_the_order_of_golds(text: str, golds: list[str], rng: Any) -> None:
    shuffled = golds.copy()
    rng.shuffle(shuffled)
    for score in (exact_match, f1, exact_match_v2, f1_v2):
        assert 0.0 <= score(text, golds) <= 1.0
        assert score(text, golds) == score(text, shuffled) == score(text, golds + golds)
        assert score(text, [*golds, "another"]) >= score(text, golds) or not any(map(normalize_answer, golds))


@properties
@given(texts, gold_lists)
def test_exact_match_never_exceeds_f1(text: str, golds: list[str]) -> None:
    assert exact_match_v2(text, golds) <= f1_v2(text, golds)
    if normalize_answer(text):
        assert exact_match(text, golds) <= f1(text, golds)


@properties
@given(texts)
def test_a_text_matches_itself(text: str) -> None:
    assert exact_match(text, [text]) == exact_match_v2(text, [text]) == f1_v2(text, [text]) == 1.0
    assert f1(text, [text]) == (1.0 if normalize_answer(text) else 0.0)  # v1.1 gives nothing for nothing


@properties
@given(texts, texts)
def test_scores_of_one_gold_are_symmetric(left: str, right: str) -> None:
    assert exact_match(left, [right]) == exact_match(right, [left])
    assert f1(left, [right]) == pytest.approx(f1(right, [left]), abs=1e-12)


def test_v1_refuses_a_question_without_golds() -> None:
    for score in (exact_match, f1):
        with pytest.raises(ValueError, match="empty"):
            score("x", [])


def test_scores_per_question_import_nothing_heavy() -> None:
    code = (
        "import sys, llmkit.tasks.span.text_overlap, llmkit.tasks.span.null_threshold, llmkit.tasks.bootstrap\n"
        "heavy = {'datasets', 'transformers', 'torch', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
