"""CMRC 2018 is scored as its official script scores it, with answers that are not in their passage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from support.recordings import recorded
from support.tasks import letters

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.span.cmrc2018_scores import exact_match, f1
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec, Prediction

PAIRS: list[Any] = recorded("official_cmrc2018_scores.jsonl.gz")
CMRC = TASKS["cmrc2018"]


def test_scores_equal_the_official_script() -> None:
    assert sum(0 < overlap < 1 for *_, (_, overlap) in PAIRS) > 500
    for text, golds, scores in PAIRS:
        assert [exact_match(text, golds), f1(text, golds)] == pytest.approx(scores, abs=1e-9), (text, golds)


def test_the_means_and_their_intervals() -> None:
    rows = [
        {"id": str(n), "context": str(n // 5), "answers": {"text": golds[:1]}, "unplaced": golds[1:]}
        for n, (_, golds, _) in enumerate(PAIRS)
    ]
    found = [Prediction(str(n), text, 1.0) for n, (text, *_) in enumerate(PAIRS) if n % 17]
    scores = CMRC.score(found, Dataset.from_list(rows), SpanData(path="x"))
    official = [[one for n, (*_, pair) in enumerate(PAIRS) if n % 17 for one in [pair[part]]] for part in (0, 1)]
    exact, overlap = (100 * sum(values) / len(PAIRS) for values in official)
    for name, value in {"exact_match": exact, "f1": overlap, "average": (exact + overlap) / 2}.items():
        assert scores[name] == pytest.approx(value, abs=1e-9)
        low, high = scores[f"{name}_interval"]
        assert low < value < high


def rows(folder: Path, *answers: tuple[str, int]) -> Dataset:
    file = folder / "rows.jsonl"
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    row = {"id": "q", "context": "灯塔旁的灯塔亮了。", "question": "？"}
    file.write_text(json.dumps({**row, "answers": {"text": texts, "answer_start": starts}}))
    return load_examples(CMRC, SpanData(train=str(file)), ["train"])["train"]


@pytest.mark.parametrize(
    ("answers", "placed", "unplaced"),
    [
        ([("灯塔", 0)], [("灯塔", 0)], []),
        ([("灯塔", 4)], [("灯塔", 4)], []),
        ([("灯塔", 3)], [("灯塔", 4)], []),  # one character off
        ([("灯塔", -1)], [("灯塔", 0)], []),
        ([("明灯", -1), ("亮", 6)], [("亮", 6)], ["明灯"]),
        ([("明灯", -1)], [], ["明灯"]),
    ],
)
def test_answers_are_trained_on_where_they_are(
    answers: list[tuple[str, int]], placed: list[tuple[str, int]], unplaced: list[str], tmp_path: Path
) -> None:
    (row,) = rows(tmp_path, *answers)
    assert list(zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)) == placed
    assert row["unplaced"] == unplaced
    for text, _ in answers:
        scores = CMRC.score([Prediction("q", text, 1.0)], Dataset.from_list([row]), SpanData(path="x"))
        assert scores["average"] == 100.0


@pytest.mark.parametrize("answers", [[("", 0)], [(3, 0)], [("灯塔", "0")]])
def test_what_is_no_answer_is_refused(answers: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1: (an|no) answer"):
        rows(tmp_path, *answers)


def test_an_answer_without_a_start_is_refused(tmp_path: Path) -> None:
    row = {
        "id": "q",
        "context": "灯塔亮了。",
        "question": "？",
        "answers": {"text": ["灯塔", "亮"], "answer_start": [0]},
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match=r"rows\.jsonl:1: 'answers' has 2 texts and 1 starts"):
        load_examples(CMRC, SpanData(train=str(tmp_path / "rows.jsonl")), ["train"])


def test_a_question_without_a_placed_answer_is_not_trained_on(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, ("明灯", -1))
    (placed,) = rows(tmp_path, ("灯塔", 0))
    examples, codec = Dataset.from_list([row, placed]), Codec(letters())
    data = SpanData(path="x", max_length=16, doc_stride=4)
    assert set(CMRC.encode(examples, codec, data, training=True)["example"]) == {1}
    assert set(CMRC.encode(examples, codec, data, training=False)["example"]) == {0, 1}
