"""The SQuAD metrics against recordings of the official scripts; the null threshold; the bootstrap.

tests/record_official_scores.py made the recordings.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import DATA, ROOT

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import cluster_interval
from llmkit.tasks.span.null_threshold import best_threshold
from llmkit.tasks.span.squad_metric import Squad
from llmkit.tasks.span.squad_v2_metric import SquadV2
from llmkit.tasks.span.text_overlap import exact_match, exact_match_v2, f1, f1_v2, normalize_answer

properties = settings(deadline=None, database=None)


def read_gz(name: str) -> str:
    return gzip.decompress((DATA / name).read_bytes()).decode()


PAIRS: list[list[Any]] = [json.loads(line) for line in read_gz("official_squad_scores.jsonl.gz").split("\n")[:-1]]
RUNS: list[dict[str, Any]] = json.loads(read_gz("official_squad_aggregates.json.gz"))


def reference(id_: str, golds: list[str]) -> dict[str, Any]:
    return {"id": id_, "answers": {"text": golds, "answer_start": [0] * len(golds)}}


def v1_prediction(id_: str, text: str) -> dict[str, Any]:
    return {"id": id_, "prediction_text": text}


def v2_prediction(id_: str, text: str, no_answer_probability: float = 0.0) -> dict[str, Any]:
    return {"id": id_, "prediction_text": text, "no_answer_probability": no_answer_probability}


# The official scripts, pair by pair.


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


# The official scripts, whole data sets.


@pytest.mark.parametrize("run", [run for run in RUNS if run["version"] == "1.1"], ids=["whole", "with gaps"])
def test_squad_equals_the_official_output(run: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    indices = [i for i in range(run["start"], run["stop"]) if PAIRS[i][1]]
    missing = set(run["missing"])
    # A metric takes as many predictions as references: one of an unknown id stands for a missing one.
    ids = [f"unknown{i}" if f"q{i}" in missing else f"q{i}" for i in indices]
    predictions = [v1_prediction(id_, PAIRS[i][0]) for id_, i in zip(ids, indices, strict=True)]
    references = [reference(f"q{i}", PAIRS[i][1]) for i in indices]
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        scores = Squad().compute(predictions=predictions[::-1], references=references)
    assert scores == pytest.approx(run["output"], rel=0, abs=1e-9)
    warned = [record.getMessage() for record in caplog.records if record.name.startswith("llmkit")]
    if missing:
        assert warned == [f"{len(missing)} of {len(indices)} questions have no prediction and score 0"]
    else:
        assert warned == []


@pytest.mark.parametrize("run", [run for run in RUNS if run["version"] == "2.0"], ids=lambda run: run["start"])
def test_squad_v2_equals_the_official_output(run: dict[str, Any]) -> None:
    predictions = [v2_prediction(id_, PAIRS[int(id_[1:])][0], p) for id_, p in run["na_probs"].items()]
    references = [
        reference(f"q{i}", PAIRS[i][1]) for i in range(run["start"], run["stop"]) if f"q{i}" in run["na_probs"]
    ]
    scores = SquadV2().compute(predictions=predictions, references=references, no_answer_threshold=run["threshold"])
    assert set(scores) == set(run["output"])
    assert scores == pytest.approx(run["output"], rel=0, abs=1e-9)
    assert json.loads(json.dumps(scores)) == scores


def test_squad_v2_answers_everything_by_default() -> None:
    scores = SquadV2().compute(
        predictions=[v2_prediction("a", "Denver", 1.0), v2_prediction("b", "x", 1.0)],
        references=[reference("a", ["Denver"]), reference("b", [])],
    )
    assert (scores["HasAns_exact"], scores["NoAns_exact"]) == (100.0, 0.0)


# Facts about the scores that hold for any text.

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


# What the metrics refuse.


@pytest.mark.parametrize(
    ("metric", "predictions", "references", "message"),
    [
        (Squad, [], [], "no question"),
        (SquadV2, [], [], "no question"),
        (Squad, [v1_prediction("a", "x")], [reference("a", [])], "no answer, the first is 'a'"),
        (
            Squad,
            [v1_prediction("a", "x")] * 2,
            [reference("a", ["x"]), reference("b", ["x"])],
            "in the predictions",
        ),
        (
            Squad,
            [v1_prediction("a", "x"), v1_prediction("b", "x")],
            [reference("a", ["x"])] * 2,
            "in the references",
        ),
        (
            SquadV2,
            [v2_prediction("a", "x")] * 2,
            [reference("a", ["x"]), reference("b", ["x"])],
            "in the predictions",
        ),
        (SquadV2, [v2_prediction("z", "x")], [reference("a", ["x"])], "no prediction, the first is 'a'"),
        (SquadV2, [v2_prediction("a", "x", math.nan)], [reference("a", ["x"])], "of 'a' is nan"),
    ],
)
def test_metrics_say_what_is_wrong_with_the_input(
    metric: Callable[[], Squad | SquadV2], predictions: list[Any], references: list[Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        metric().compute(predictions=predictions, references=references)
    assert refusal.value.remedy


# Offline, without a file, beside other processes.

_touched: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _touched is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if mode is None else set(mode) & set("wxa+")
        if writes:
            _touched.append(f"open {path}")
    elif event in ("os.mkdir", "os.rename", "os.remove") or event.startswith(("socket.", "tempfile.")):
        _touched.append(f"{event} {arguments}")


sys.addaudithook(_audit)


@contextmanager
def recorded_side_effects() -> Iterator[list[str]]:
    """Every file opened for writing, folder made and socket used inside, by any library."""
    global _touched
    effects: list[str] = []
    _touched = effects
    try:
        yield effects
    finally:
        _touched = None


def test_the_record_of_side_effects_sees_them(tmp_path: Path) -> None:
    with recorded_side_effects() as effects:
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").write_text("x")
        socket.socket().close()
    assert len(effects) == 3


def compute_both() -> tuple[dict[str, float], dict[str, float]]:
    references = [reference("a", ["Denver Broncos"])]
    v1 = Squad().compute(predictions=[v1_prediction("a", "Broncos")], references=references)
    v2 = SquadV2().compute(predictions=[v2_prediction("a", "Broncos")], references=references)
    return v1, v2


def test_metrics_work_without_network_home_or_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError("no network here")

    blocker = tmp_path / "a file where the home should be"
    blocker.touch()
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", blocker / "metrics")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with recorded_side_effects() as effects:
        v1, v2 = compute_both()
    assert v1["f1"] == v2["f1"] == pytest.approx(200 / 3)
    assert effects == []
    assert list(tmp_path.iterdir()) == [blocker]


def test_metrics_in_use_at_the_same_time_do_not_mix() -> None:
    one, other = Squad(), Squad()
    one.add(prediction=v1_prediction("a", "x"), reference=reference("a", ["x"]))
    other.add(prediction=v1_prediction("a", "y"), reference=reference("a", ["x"]))
    one.add_batch(predictions=[v1_prediction("b", "y")], references=[reference("b", ["x"])])
    assert one.compute()["exact_match"] == 50.0
    assert other.compute()["exact_match"] == 0.0
    again = one.compute(predictions=[v1_prediction("a", "x")], references=[reference("a", ["x"])])
    assert again["exact_match"] == 100.0


def test_scores_per_question_import_nothing_heavy() -> None:
    code = (
        "import sys, llmkit.tasks.span.text_overlap, llmkit.tasks.span.null_threshold, llmkit.tasks.bootstrap\n"
        "heavy = {'evaluate', 'datasets', 'transformers', 'torch', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# The null threshold.


def mean_at(threshold: float, answered: np.ndarray, empty: np.ndarray, null: np.ndarray) -> float:
    return float(np.where(null > threshold, empty, answered).mean())


question = st.tuples(
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([0.0, 1.0]),
    st.integers(-3, 3).map(float) | st.floats(-1e30, 1e30),
)


@properties
@given(st.lists(question, min_size=1, max_size=30))
def test_best_threshold_is_the_best_of_all(questions: list[tuple[float, float, float]]) -> None:
    answered, empty, null = np.array(questions).T
    threshold = best_threshold(answered, empty, null)
    cuts = [-math.inf, *sorted(set(null))]
    means = [mean_at(cut, answered, empty, null) for cut in cuts]
    best_cut = max(cut for cut, mean in zip(cuts, means, strict=True) if mean >= max(means) - 1e-9)
    np.testing.assert_array_equal(null > threshold, null > best_cut)
    assert math.isfinite(threshold)
    assert threshold == best_cut or best_cut == -math.inf


@properties
@given(st.lists(question, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_best_threshold_ignores_the_order_of_questions(questions: list[Any], rng: Any) -> None:
    shuffled = questions.copy()
    rng.shuffle(shuffled)
    assert best_threshold(*np.array(questions).T) == best_threshold(*np.array(shuffled).T)


def test_best_threshold_by_hand() -> None:
    #                      clear answer, clear null, null scores that tie
    assert best_threshold([1.0, 0.8, 0.0], [0.0, 0.0, 1.0], [-2.0, 3.0, 5.0]) == 3.0
    # Where nothing is gained by leaving a wrong answer out, it is given.
    assert best_threshold([1.0, 0.0], [0.0, 0.0], [0.1, 0.9]) == 0.9
    # Questions of equal null score go together, for better or worse.
    assert best_threshold([1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]) < 0.0


def test_best_threshold_below_all_survives_float32() -> None:
    null = np.array([-7.5, -7.25, 1000.0], np.float32)
    threshold = best_threshold([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], null)
    assert (null > np.float32(threshold)).all()


@pytest.mark.parametrize(
    "columns",
    [([], [], []), ([1.0], [0.0, 0.0], [0.0]), ([1.0], [0.0], [math.nan]), ([[1.0]], [[0.0]], [[0.0]])],
    ids=["no questions", "lengths", "nan", "matrix"],
)
def test_best_threshold_refuses_nonsense(columns: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match="best_threshold"):
        best_threshold(*columns)


# The bootstrap.


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
            interval = cluster_interval(values, units.tolist(), resamples=300)
            assert interval is not None
            covered[name] += interval[0] <= 0.5 <= interval[1]
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
    interval = cluster_interval(values, groups.tolist(), resamples=4000, level=0.9)
    assert interval == pytest.approx(tuple(np.quantile(means, (0.05, 0.95))), abs=0.004)


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
    interval = cluster_interval(values, groups, resamples=50)
    assert interval is not None
    assert interval == cluster_interval(values, groups, resamples=50)
    assert interval == cluster_interval(other_values, [f"page {group}" for group in other_groups], resamples=50)
    # A mean of groups is a weighted mean of values, up to rounding.
    assert min(values) - 1e-12 <= interval[0] <= interval[1] <= max(values) + 1e-12


def test_interval_follows_seed_and_level() -> None:
    values, groups = paragraphs(np.random.default_rng(3), agreement=0.5)
    narrow, wide = (cluster_interval(values, groups.tolist(), level=level) for level in (0.5, 0.99))
    assert narrow is not None
    assert wide is not None
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]
    assert cluster_interval(values, groups.tolist(), seed=1) != cluster_interval(values, groups.tolist(), seed=0)


def test_one_group_has_no_interval() -> None:
    assert cluster_interval([0.0, 1.0, 1.0], ["p", "p", "p"]) is None


@pytest.mark.parametrize(
    ("values", "groups", "level"),
    [([], [], 0.95), ([1.0], ["a", "b"], 0.95), ([1.0, 0.0], ["a", "b"], 95)],
    ids=["no questions", "lengths", "level in percent"],
)
def test_interval_refuses_nonsense(values: list[float], groups: list[str], level: float) -> None:
    with pytest.raises(ValueError, match=r"one group per value|level must lie"):
        cluster_interval(values, groups, level=level)


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
