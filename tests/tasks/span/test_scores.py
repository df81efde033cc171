"""Scores with predictions missing, and a null threshold that must not be judged where it was chosen."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from support.recordings import recorded
from support.spans import example, score_of

from llmkit.tasks import TASKS
from llmkit.tasks.span.null_threshold import best_threshold
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Candidate, Codec, Prediction

SQUAD, SQUAD_V2 = TASKS["squad"], TASKS["squad_v2"]


def question(number: int, answer: str, *, context: str = "") -> dict[str, Any]:
    answers: dict[str, Any] = {"text": [answer] if answer else [], "answer_start": [0] if answer else []}
    return {"id": str(number), "context": context or f"passage {number}", "question": "?", "answers": answers}


def predicted(number: int, text: str, null_score: float, *, threshold: float = 0.0) -> Prediction:
    candidates = (Candidate(text, 0, len(text), 1.0, 1.0),)
    shown = "" if null_score > threshold else text
    return Prediction(str(number), shown, 1.0, null_score=null_score, candidates=candidates)


@pytest.fixture(scope="module")
def mixed() -> tuple[list[Prediction], Dataset]:
    """Two questions of three have an answer. The model finds it mostly, and its null score knows a little."""
    random = np.random.default_rng(5)
    rows, predictions = [], []
    for n in range(300):
        has = n % 3 > 0
        rows.append(question(n, "the blue ship" if has else "", context=f"passage {n // 3}"))
        text = str(random.choice(["blue ship", "ship", "whale"], p=[0.6, 0.2, 0.2]))
        predictions.append(predicted(n, text, float(random.normal(2.0 if has else 4.0, 1.5))))
    return predictions, Dataset.from_list(rows)


PAIRS: list[list[Any]] = recorded("official_squad_scores.jsonl.gz")
RUNS: list[dict[str, Any]] = recorded("official_squad_aggregates.json.gz")


def answered(number: int) -> dict[str, Any]:
    """The question of a recorded pair, a passage of its own."""
    golds = PAIRS[number][1]
    return {"id": f"q{number}", "context": str(number), "answers": {"text": golds, "answer_start": [0] * len(golds)}}


@pytest.mark.parametrize("run", [run for run in RUNS if run["version"] == "1.1"], ids=["whole", "with gaps"])
def test_scores_of_squad_1_are_the_official_scripts(run: dict[str, Any]) -> None:
    numbers = [n for n in range(run["start"], run["stop"]) if PAIRS[n][1]]
    missing = set(run["missing"])
    predictions = [Prediction(f"q{n}", PAIRS[n][0], 1.0) for n in numbers if f"q{n}" not in missing]
    scores = score_of(SQUAD, predictions[::-1], Dataset.from_list([answered(n) for n in numbers]))
    assert {name: scores[name] for name in run["output"]} == pytest.approx(run["output"], rel=0, abs=1e-9)
    assert scores["total"] == len(numbers)


@pytest.mark.parametrize("run", [run for run in RUNS if run["version"] == "2.0"], ids=lambda run: run["start"])
def test_scores_of_squad_2_are_the_official_scripts(run: dict[str, Any]) -> None:
    probabilities, official = run["na_probs"], run["output"]
    numbers = [int(name[1:]) for name in probabilities]

    def text(number: int) -> str:
        if probabilities[f"q{number}"] <= run["threshold"]:
            return str(PAIRS[number][0])
        # The script counts a withheld answer as wrong also if nothing is left of the gold one, unlike an empty text.
        return "withheld" if PAIRS[number][1] else ""

    predictions = [Prediction(f"q{n}", text(n), 1.0) for n in numbers]
    scores = score_of(SQUAD_V2, predictions, Dataset.from_list([answered(n) for n in sorted(numbers)]))
    scores["exact"] = scores["exact_match"]
    # The script's best thresholds are tuned on the questions that it reports them on.
    wanted = {name: value for name, value in official.items() if not name.startswith("best_")}
    assert {name: scores[name] for name in wanted} == pytest.approx(wanted, rel=0, abs=1e-9)
    assert not [name for name in scores if name.startswith("best_")]


def test_scores_of_squad_2_lie_in_their_intervals(mixed: tuple[list[Prediction], Dataset]) -> None:
    scores = score_of(SQUAD_V2, *mixed)
    for name in ("exact_match", "f1"):
        low, high = scores[f"{name}_interval"]
        assert 0 <= low < scores[name] < high <= 100


def test_the_threshold_is_the_best_of_its_half_and_only_that(mixed: tuple[list[Prediction], Dataset]) -> None:
    predictions, examples = mixed
    scores = score_of(SQUAD_V2, predictions, examples)
    tuned = scores["tuned"]
    threshold = tuned["null_threshold"]
    assert threshold > 1, "at 0 this model leaves nearly all questions empty"

    # Each half anew, by the official metric: whole passages, by the hash of their text.
    second = [hashlib.sha256(c.encode()).digest()[0] % 2 == 1 for c in examples["context"]]
    for part, chosen in (("tuned_on", False), ("reported_on", True)):
        rows = [n for n, value in enumerate(second) if value is chosen]
        again = [
            predicted(n, predictions[n].candidates[0].text, predictions[n].null_score or 0.0, threshold=threshold)
            for n in rows
        ]
        official = score_of(SQUAD_V2, again, examples.select(rows))
        assert tuned[part] == pytest.approx({n: official[n] for n in ("exact_match", "f1", "total")})
    assert tuned["reported_on"]["f1"] > scores["f1"] + 5, "the threshold matters"

    # What is reported has no say in the choice: with another truth there, the threshold stays.
    changed = [
        {**row, "answers": {"text": [], "answer_start": []}} if late else row
        for row, late in zip(examples, second, strict=True)
    ]
    other = score_of(SQUAD_V2, predictions, Dataset.from_list(changed))["tuned"]
    assert (other["null_threshold"], other["tuned_on"]) == (threshold, tuned["tuned_on"])
    assert other["reported_on"] != tuned["reported_on"]


def test_halves_stay_where_questions_move_or_go(mixed: tuple[list[Prediction], Dataset]) -> None:
    predictions, examples = mixed
    tuned = score_of(SQUAD_V2, predictions, examples)["tuned"]
    order = np.random.default_rng(0).permutation(len(predictions)).tolist()
    moved = score_of(SQUAD_V2, predictions[::-1], examples.select(order))["tuned"]
    assert moved["null_threshold"] == tuned["null_threshold"]
    for part in ("tuned_on", "reported_on"):
        assert moved[part] == pytest.approx(tuned[part])
    totals = [tuned[part]["total"] for part in ("tuned_on", "reported_on")]
    assert all(total % 3 == 0 for total in totals), "three questions a passage, never parted"
    assert min(totals) > 100


def test_a_question_without_a_prediction_scores_0_in_every_number(mixed: tuple[list[Prediction], Dataset]) -> None:
    """Also one without an answer, which an empty text in the prediction's place would have got right."""
    _, examples = mixed
    shy = [predicted(n, "whale", 100.0) for n in range(300)]
    empty = score_of(SQUAD_V2, shy, examples)
    assert (empty["NoAns_f1"], empty["HasAns_f1"]) == (100.0, 0.0)
    none_of_them = score_of(SQUAD_V2, [p for n, p in enumerate(shy) if n % 3], examples)
    assert (none_of_them["f1"], none_of_them["NoAns_f1"], none_of_them["total"]) == (0.0, 0.0, 300)
    assert none_of_them["f1_interval"] == [0.0, 0.0]
    assert none_of_them["tuned"]["reported_on"]["f1"] == none_of_them["tuned"]["tuned_on"]["f1"] == 0.0

    rows = [question(1, "the"), question(2, "ship")]
    scores = score_of(SQUAD, [Prediction("2", "ship", 1.0)], Dataset.from_list(rows))
    assert (scores["exact_match"], scores["f1"], scores["total"]) == (50.0, 50.0, 2), "'the' normalises to nothing"


def test_no_threshold_where_there_is_nothing_to_choose_by(mixed: tuple[list[Prediction], Dataset]) -> None:
    predictions, examples = mixed
    texts = [Prediction(p.id, p.text, 1.0) for p in predictions]
    assert "tuned" not in score_of(SQUAD_V2, texts, examples)
    one_passage = Dataset.from_list([question(n, "ship", context="the same") for n in range(4)])
    scores = score_of(SQUAD_V2, [predicted(n, "ship", -1.0) for n in range(4)], one_passage)
    assert (scores["tuned"], scores["f1_interval"], scores["f1"]) == (None, None, 100.0)


def test_a_null_score_without_candidates_leaves_its_text() -> None:
    """As another program may write it: text and null score. It can be withheld, and stays as it is otherwise."""
    rows = [question(n, "ship") for n in range(40)]
    texts = [Prediction(str(n), "ship", 1.0, null_score=-1.0) for n in range(40)]
    tuned = score_of(SQUAD_V2, texts, Dataset.from_list(rows))["tuned"]
    assert tuned["reported_on"]["f1"] == 100.0
    assert tuned["null_threshold"] == best_threshold([1.0], [0.0], [-1.0])


def dataset(count: int) -> Dataset:
    rows = [example(f"Ship {n // 3} sails.", "Which?", (f"Ship {n // 3}", 0), id=str(n)) for n in range(count)]
    return Dataset.from_list(rows)


def test_scores_of_squad_1_lie_in_their_intervals() -> None:
    examples = dataset(60)
    texts = [row["answers"]["text"][0] if n % 4 else "sails Ship" for n, row in enumerate(examples)]
    predictions = [Prediction(str(n), text, 1.0) for n, text in enumerate(texts)]
    scores = score_of(SQUAD, predictions, examples)
    for name in ("exact_match", "f1"):
        low, high = scores[f"{name}_interval"]
        assert low < scores[name] < high
    fewer = score_of(SQUAD, predictions[1:], examples)
    assert fewer["total"] == 60
    assert fewer["f1"] < scores["f1"] + 1e-9, "a question without a prediction scores 0"


def test_the_null_threshold_is_tuned_on_one_half_and_reported_on_the_other(tokenizer: Any) -> None:
    """A model that is too shy by 4 logits: only a threshold above 0 lets it answer."""
    count = 90
    rows = []
    for n in range(count):
        answers = [] if n % 3 == 0 else [(f"ship {n}", 0)]
        rows.append(example(f"ship {n} sails.", "which ship?", *answers, id=str(n)))
    examples = Dataset.from_list(rows)
    section = SpanData(path="x", max_length=32, doc_stride=8)
    features = SQUAD_V2.encode(examples, Codec(tokenizer), section, training=False)
    outputs = []
    for window, row in zip(features, rows, strict=True):
        logits = np.full((2, window["length"]), -10.0, np.float32)
        offsets = np.array(window["offsets"]).reshape(-1, 2)
        end = len(row["context"]) - len(" sails.")
        logits[0, np.flatnonzero(offsets[:, 0] == 0)[0]] = 3.0
        logits[1, np.flatnonzero(offsets[:, 1] == end)[0]] = 3.0
        logits[:, 0] = 5.0 if row["answers"]["text"] else 9.0
        outputs.append({"start_logits": logits[0], "end_logits": logits[1]})
    shy = score_of(SQUAD_V2, SQUAD_V2.decode(outputs, features, examples, Codec(tokenizer), section), examples)
    assert shy["HasAns_f1"] == 0.0
    assert shy["NoAns_f1"] == 100.0
    tuned = shy["tuned"]
    assert tuned["null_threshold"] == pytest.approx(8.0), "the middle of 4, where there is an answer, and 12"
    assert tuned["tuned_on"]["f1"] == tuned["reported_on"]["f1"] == 100.0
    assert tuned["tuned_on"]["total"] + tuned["reported_on"]["total"] == count
    bold = SQUAD_V2.decode(outputs, features, examples, Codec(tokenizer), section, threshold=tuned["null_threshold"])
    assert score_of(SQUAD_V2, bold, examples)["f1"] == 100.0
    backwards = score_of(SQUAD_V2, bold[::-1], examples.select(range(count)[::-1]))
    assert backwards["tuned"] == score_of(SQUAD_V2, bold, examples)["tuned"]
