"""What a report says of single predictions, by kind of task."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from support.tasks import codec_of, fixture, oracle, section

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.predictions import read_predictions
from llmkit.tasks.review import Review
from llmkit.tasks.shown import AROUND, Case, Part, differences, marked
from llmkit.tasks.values import Candidate, Prediction

PASSAGE = {"id": "1", "title": "", "question": "When?", "context": "In 1820 or 1821.", "answers": None}


def of_oracle(name: str) -> tuple[Review, list[Prediction]]:
    """The review of a model that knows, on three examples."""
    task = TASKS[name]
    data = section(task, fixture(name))
    examples = load_examples(task, data, ["validation"])["validation"]
    codec = codec_of(task, examples)
    features, outputs = oracle(task, examples, codec, data)
    predictions = task.decode(outputs, features, examples, codec, data)
    return task.review(predictions, examples, data), predictions


@pytest.mark.parametrize("name", TASKS)
def test_a_model_that_knows(name: str) -> None:
    review, predictions = of_oracle(name)
    claims = review.claims()
    if claims is None:
        assert review.unclaimed
    else:
        assert claims.right.all(), "all that it claims is right"
        assert len(claims.right) == len(claims.confidence) == len(claims.groups) > 0
        assert (claims.confidence > 0.9).all()
        if claims.choices is not None:
            assert claims.choices[:, 0] == pytest.approx(claims.confidence)
            assert claims.choices.sum(axis=1) == pytest.approx(1, abs=1e-3)
    errors = review.errors()
    if errors is not None:
        assert not (errors > 0).any()
    for labelling in review.labellings():
        assert (labelling.probabilities.argmax(axis=1) == labelling.gold).all()
    cases = [review.case(row) for row in range(3)]
    assert all("".join(part.text for _, parts in case.texts for part in parts).strip() for case in cases)
    marks = {part.mark for case in cases for _, parts in case.texts for part in parts}
    assert "predicted" not in marks, "what is predicted is gold too"
    nothing = replace(review, predictions=predictions[:1])
    assert [nothing.case(row).texts[0] is not None for row in range(3)] == [True] * 3, "others have no prediction"
    some = nothing.claims()
    assert some is None or len(some.right) <= (len(claims.right) if claims else 0)


def of_passage(task: str, prediction: Prediction, **answers: Any) -> Review:
    examples = Dataset.from_list([{**PASSAGE, "answers": answers}])
    return TASKS[task].review([prediction], examples, TASKS[task].data_class(path="x"))


def test_answers_are_marked_in_the_passage() -> None:
    spans = (Candidate("1820 or 1821", 3, 15, 2.0, 0.7), Candidate("1820", 3, 7, 1.0, 0.3))
    wrong = Prediction("1", "1820 or 1821", 0.7, 3, 15, candidates=spans)
    review = of_passage("squad", wrong, text=["1820", "1820"], answer_start=[3, 3])
    case = review.case(0)
    assert case.texts[1] == (
        "passage",
        [Part("In "), Part("1820", "both"), Part(" or 1821", "predicted"), Part(".")],
    )
    assert (case.gold, case.predicted) == ("1820", "1820 or 1821")
    errors = review.errors()
    assert errors is not None
    assert errors.tolist() == [0.7]


def test_abstaining_is_a_choice() -> None:
    spans = (Candidate("1820", 3, 7, 1.0, 0.3), Candidate("1821", 11, 15, 0.0, 0.1))
    review = of_passage(
        "squad_v2", Prediction("1", "", 0.6, null_score=0.7, candidates=spans), text=[], answer_start=[]
    )
    claims = review.claims()
    assert claims is not None
    assert claims.choices is not None
    assert claims.choices[0].tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert claims.right.tolist() == [True]
    case = review.case(0)
    assert (case.gold, case.predicted) == ("no answer", "no answer")
    assert case.texts[1] == ("passage", [Part("In 1820 or 1821.")])


def test_the_curve_of_thresholds_has_the_official_scores() -> None:
    """At each threshold, the score is that of predictions that abstain above it."""
    task, generator = TASKS["squad_v2"], np.random.default_rng(5)
    rows, predictions = [], []
    for number in range(60):
        answers = {"text": ["1820"], "answer_start": [3]} if number % 3 else {"text": [], "answer_start": []}
        rows.append({**PASSAGE, "id": str(number), "context": f"In 1820 or 1821. {number // 2}", "answers": answers})
        null = float(generator.normal(-1 if number % 3 else 1))
        span = (Candidate("1820 or" if number % 5 else "1820", 3, 7, 0.0, 0.5),)
        text = "" if null > 0 else span[0].text
        predictions.append(Prediction(str(number), text, 0.5, null_score=null, candidates=span))
    examples, data = Dataset.from_list(rows), task.data_class(path="x")
    found = task.review(predictions, examples, data).thresholds()
    assert found is not None
    assert found.used == 0.0
    assert found.tuned == task.score(predictions, examples, data)["tuned"]["null_threshold"]
    for place in (0, len(found.at) // 2, len(found.at) - 1):
        at = found.at[place]
        abstaining = [
            replace(each, text="" if each.null_score > at else each.candidates[0].text)  # type: ignore[operator]
            for each in predictions
        ]
        scores = task.score(abstaining, examples, data)
        for name in ("exact_match", "f1"):
            assert found.scores[name][place] == pytest.approx(scores[name])
    other = [replace(each, text="" if each.null_score > 1.5 else each.candidates[0].text) for each in predictions]  # type: ignore[operator]
    used = task.review(other, examples, data).thresholds()
    assert used is not None
    kept = [each.null_score for each in other if each.text]
    assert used.used == max(kept)  # type: ignore[type-var]


def test_far_text_is_cut() -> None:
    text = "x" * 1000 + "gold" + "y" * 1000
    parts = marked(text, [(1000, 1004)], [])
    assert [part.mark for part in parts] == ["", "gold", ""]
    assert parts[0].text == " … " + "x" * AROUND
    assert parts[2].text == "y" * AROUND + " … "
    assert len(marked(text, [], [])[0].text) < 700


def test_texts_differ_in_words() -> None:
    parts = differences(["the", "ship", "sails", "today"], ["the", "boat", "sails"])
    assert [(part.text.strip(), part.mark) for part in parts if part.text.strip()] == [
        ("the", ""),
        ("ship", "gold"),
        ("boat", "predicted"),
        ("sails", ""),
        ("today", "gold"),
    ]


KEYS = {
    "squad": "start end candidates",
    "squad_v2": "start end null_score candidates",
    "natural_questions": "start end null_score candidates",
    "glue/sst2": "candidates",
    "glue/stsb": "",
    "multilabel": "candidates",
    "ner": "entities tags",
    "translation": "",
}


@pytest.mark.parametrize("name", KEYS)
def test_a_prediction_has_the_keys_of_its_kind(name: str, tmp_path: Path) -> None:
    """Also where the model abstains. Files with the keys of all kinds, as they once were, say the same."""
    _, predictions = of_oracle(name)
    places = KEYS[name].startswith("start")
    if "null_score" in KEYS[name]:
        predictions += [replace(each, id=f"{each.id}x", text="", start=None, end=None) for each in predictions]
    rows = [each.as_row() for each in predictions]
    assert {tuple(row) for row in rows} == {("id", "text", "score", *KEYS[name].split())}
    for row in rows:
        for each in row.get("candidates", ()):
            assert set(each) == {"text", "score", "probability", *(("start", "end") if places else ())}
    nothing = {"start": None, "end": None}
    older = [{**nothing, "null_score": None, "candidates": [], **row} for row in rows]
    for row in older:
        row["candidates"] = [{**nothing, **each} for each in row["candidates"]]
    file = tmp_path / "predictions.jsonl"
    for written in (rows, older):
        file.write_text("".join(json.dumps(row) + "\n" for row in written))
        assert read_predictions(file) == predictions


def test_the_tags_of_words_are_read_back(tmp_path: Path) -> None:
    _, predictions = of_oracle("ner")
    assert all(sum(word.values()) == pytest.approx(1, abs=0.01) for each in predictions for word in each.tags or ())
    file = tmp_path / "predictions.jsonl"
    file.write_text("".join(json.dumps(each.as_row()) + "\n" for each in predictions))
    assert read_predictions(file) == predictions
    file.write_text(json.dumps({"id": "1", "text": "O", "tags": ["O"]}) + "\n")
    with pytest.raises(UserError, match=r"predictions.jsonl:1: not a prediction"):
        read_predictions(file)


def test_tags_claim_their_entities() -> None:
    review, (first, *others) = of_oracle("ner")
    assert first.tags is not None
    assert len(first.tags) == len(first.text.split())
    lies = replace(first, text=" ".join(["O"] * len(first.tags)), entities=())
    wrong = replace(review, predictions=[lies, *others])
    errors = wrong.errors()
    assert errors is not None
    assert errors[0] > 0.9
    assert np.isnan(errors[1:]).all()
    assert any(part.mark == "gold" for part in wrong.case(0).texts[0][1])
    old = replace(review, predictions=[replace(first, tags=None), *others])
    assert list(old.labellings()) == []
    assert "older llmkit" in old.unlabelled


def test_numbers_have_errors_but_no_confidence() -> None:
    review, (first, *others) = of_oracle("regression")
    off = replace(review, predictions=[replace(first, text=str(float(first.text) + 2)), *others])
    assert off.claims() is None
    assert "without a confidence" in off.unclaimed
    errors = off.errors()
    assert errors is not None
    assert errors == pytest.approx([2, 0, 0])


def test_a_kind_of_the_users_has_the_base() -> None:
    """Whatever columns it has are shown."""
    task = TASKS["squad"]
    examples = Dataset.from_dict({"id": ["1"], "text": ["fire"], "severity": [3]})
    review = Review(task, [Prediction("1", "4", 0.8)], examples, task.data_class(path="x"))
    assert review.case(0) == Case([("text", [Part("fire")]), ("severity", [Part("3")])], predicted="4")
