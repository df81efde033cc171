"""Scores of written texts are those of their libraries."""

from __future__ import annotations

import pytest
import sacrebleu

from llmkit.tasks.text.generation_metrics import bleu_and_chrf, rouge

pytestmark = pytest.mark.oldest


def test_rouge_and_bleu_are_those_of_their_libraries() -> None:
    texts = ["The ships sailed.", "A dog runs over the green grass.", "nothing alike"]
    others = ["The ship sails.", "A dog runs over the grass.", "zzz"]
    found = rouge(texts, others)
    assert found["rouge1"] == pytest.approx([1.0, 12 / 13, 0.0]), "sailed and sails have one stem"
    assert found["rouge2"][1] == pytest.approx(2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5))
    assert {name: values[0] for name, values in rouge(texts, texts).items()} == pytest.approx(
        dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), 1.0)
    )
    scores = bleu_and_chrf(texts, texts)
    for name in ("bleu", "chrf"):
        official = getattr(sacrebleu, f"corpus_{name}")(others, [texts]).score
        assert bleu_and_chrf(others, texts)[name] == pytest.approx(official)
    assert scores["bleu"] == pytest.approx(100.0)
    assert scores["chrf"] == pytest.approx(100.0)
    assert "version:" in scores["bleu_signature"]
    worse = bleu_and_chrf(texts, others)
    low, high = worse["chrf_interval"]
    assert 0 <= low < high <= 100
    assert bleu_and_chrf(texts[:1], texts[:1])["bleu_interval"] is None
