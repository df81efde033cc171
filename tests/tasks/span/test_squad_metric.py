"""The SQuAD metrics are the official scripts on whole datasets, and work offline beside other processes."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import evaluate
import pytest
from support.recordings import recorded

from llmkit.system.errors import UserError
from llmkit.tasks.span.squad_metric import Squad, SquadV2

PAIRS: list[list[Any]] = recorded("official_squad_scores.jsonl.gz")
RUNS: list[dict[str, Any]] = recorded("official_squad_aggregates.json.gz")


def reference(id_: str, golds: list[str]) -> dict[str, Any]:
    return {"id": id_, "answers": {"text": golds, "answer_start": [0] * len(golds)}}


def v1_prediction(id_: str, text: str) -> dict[str, Any]:
    return {"id": id_, "prediction_text": text}


def v2_prediction(id_: str, text: str, no_answer_probability: float = 0.0) -> dict[str, Any]:
    return {"id": id_, "prediction_text": text, "no_answer_probability": no_answer_probability}


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
