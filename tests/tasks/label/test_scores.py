"""Scores of labels and numbers are those of scikit-learn and SciPy, whose answers were recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.hub_repos import glue_rows
from support.labels import examples_from, reviews
from support.tasks import letters

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.label import metrics
from llmkit.tasks.label.metrics import number_metrics
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.values import Codec, Prediction

OWN = TASKS["classification"]


# Of scikit-learn 1.9.1 (accuracy_score, f1_score of label 1, its macro average, matthews_corrcoef), in percent.
OFFICIAL_LABELS = [
    ("0110010111", "0100011101", (70.0, 72.72727272727273, 69.6969696969697, 40.8248290463863)),
    ("0000000011", "0000000000", (80.0, 0.0, 44.44444444444444, 0.0)),
    ("1111", "1111", (100.0, 100.0, 100.0, 0.0)),
    ("0120120121", "0121120022", (70.0, 57.14285714285714, 69.84126984126985, 56.060606060606055)),
    ("0101", "1010", (0.0, 0.0, 0.0, -100.0)),
]


@pytest.mark.parametrize(("gold", "predicted", "official"), OFFICIAL_LABELS)
def test_scores_of_labels_are_those_of_scikit_learn(gold: str, predicted: str, official: tuple[float, ...]) -> None:
    labels, one = sorted({*gold, *predicted, "0", "1"}), np.ones((1, len(gold)))

    def score(metric: metrics.Metric) -> float:
        return float(metrics.measure_of_labels(list(gold), list(predicted), labels, metric).at(one)[0])

    names = ("accuracy", "f1", "macro_f1", "matthews_correlation")
    assert [score(metrics.METRICS[name]) for name in names] == pytest.approx(official)
    assert score(metrics.combined_score) == pytest.approx((official[0] + official[1]) / 2)


# Of SciPy 1.17.1: pearsonr and spearmanr.
OFFICIAL_NUMBERS = [
    ([0, 1, 2, 3, 4, 5], [0.1, 0.9, 2.2, 2.8, 4.1, 4.7], (0.9953631712903918, 1.0)),
    ([3.8, 0, 1.25, 2, 2], [2, 2, 1, 0.5, 3], (0.08640257434236487, 0.10526315789473685)),
    ([1, 2, 3], [2, 2, 2], (0.0, 0.0)),
]


@pytest.mark.parametrize(("gold", "predicted", "official"), OFFICIAL_NUMBERS)
def test_correlations_are_those_of_scipy(
    gold: list[float], predicted: list[float], official: tuple[float, ...]
) -> None:
    found = number_metrics(np.array(gold, float), np.array(predicted, float))
    assert (found["pearson"], found["spearmanr"]) == pytest.approx(official)
    assert found["combined_score"] == pytest.approx(sum(official) / 2)


@given(arrays(np.float64, (2, 7), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, 1e6])), st.integers(0, 9))
@settings(max_examples=20)
def test_resamples_are_scored_as_examples_are(numbers: Any, seed: int) -> None:
    gold, predicted = numbers
    drawn = np.random.default_rng(seed).integers(7, size=7)
    weights = np.bincount(drawn, minlength=7)[None].astype(float)
    for name, whole in number_metrics(gold[np.sort(drawn)], predicted[np.sort(drawn)]).items():
        unit = 1 if name == "mse" else 100
        assert metrics.measure_of_numbers(gold, predicted, name).at(weights) == pytest.approx([unit * whole], rel=1e-9)


def test_whole_numbers_are_one_label_with_and_without_decimals() -> None:
    """A model that was trained on labels 1.0 is scored on 1, and files of predictions on either."""
    examples = examples_from(OWN, {"text": "a", "label": "1.0"}, {"text": "b", "label": 0})
    found = [Prediction("0", "1.0", 1.0), Prediction("1", "0", 1.0)]
    assert OWN.score(found, examples, LabelData(path="x"))["accuracy"] == 100
    OWN.check_labels("old", Codec(letters(), labels=("0.0", "1.0")), examples)


def test_an_example_without_a_prediction_counts_as_wrong() -> None:
    examples = examples_from(OWN, *reviews(40))
    right = [Prediction(row["id"], row["label"], 1.0) for row in examples]
    scores = OWN.score(right[:30], examples, LabelData(path="x"))
    assert scores["accuracy"] == 75
    assert scores["macro_f1"] == pytest.approx(100 * 30 / 35)
    low, high = scores["accuracy_interval"]
    # Of 40 draws with a share of 0.75: 1.96 times their standard deviation.
    assert 75 - low == pytest.approx(196 * np.sqrt(0.75 * 0.25 / 40), abs=2.6)
    assert high - 75 == pytest.approx(196 * np.sqrt(0.75 * 0.25 / 40), abs=2.6)
    stsb = TASKS["glue/stsb"]
    numbers = examples_from(stsb, *glue_rows("stsb"))
    missing = stsb.score([Prediction("0", "3.8", 1.0)], numbers, LabelData(path="x"))
    zeros = [Prediction("0", "3.8", 1.0), Prediction("1", "0", 1.0), Prediction("2", "0", 1.0)]
    assert missing == stsb.score(zeros, numbers, LabelData(path="x"))


def test_predictions_of_another_kind() -> None:
    sst2, stsb = TASKS["glue/sst2"], TASKS["glue/stsb"]
    examples = examples_from(sst2, *glue_rows("sst2"))
    numbers = [Prediction(str(n), label, 1.0) for n, label in enumerate("101")]
    assert sst2.score(numbers, examples, LabelData(path="x"))["accuracy"] == 100
    with pytest.raises(UserError, match="no prediction is a label of the task: the first is 'good'"):
        sst2.score([Prediction("0", "good", 1.0)], examples, LabelData(path="x"))
    with pytest.raises(UserError, match="the prediction for 1 is 'high', which is not a number"):
        stsb.score([Prediction("1", "high", 1.0)], examples_from(stsb, *glue_rows("stsb")), LabelData(path="x"))
