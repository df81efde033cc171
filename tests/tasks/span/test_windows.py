"""Extractive question answering: data, windows, spans, answers and scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS, task_named
from llmkit.tasks.examples import load_examples
from llmkit.tasks.span.best_spans import best_spans
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.span.squad_metric import Squad
from llmkit.tasks.span.text_overlap import normalize_answer
from llmkit.tasks.values import Codec, Prediction

pytestmark = pytest.mark.oldest

SQUAD, SQUAD_V2 = TASKS["squad"], TASKS["squad_v2"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789.,;:!?-'()é"]
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    "the",
    "ship",
    "##s",
]


def score_of(task: Any, predictions: Any, examples: Any) -> dict[str, Any]:
    scores: dict[str, Any] = task.score(predictions, examples, SpanData(path="x"))
    return scores


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(dict.fromkeys(PIECES))})


def example(context: str, question: str, *answers: tuple[str, int], id: str = "q") -> dict[str, Any]:
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    return {"id": id, "context": context, "question": question, "answers": {"text": texts, "answer_start": starts}}


def reachable_answers(examples: Dataset, tokenizer: Any, longest: int) -> list[list[dict[str, Any]]]:
    """Per example, those of its answers that a span of tokens can be: whole tokens, and at most `longest` of them."""
    contexts = list(dict.fromkeys(examples["context"]))
    encoded = tokenizer(contexts, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    ends_of = {}
    for context, offsets in zip(contexts, encoded, strict=True):
        starts = {start: number for number, (start, _) in reversed(list(enumerate(offsets)))}
        ends = {end: number for number, (_, end) in enumerate(offsets)}
        ends_of[context] = (starts, ends)
    found = []
    for context, answers in zip(examples["context"], examples["answers"], strict=True):
        starts, ends = ends_of[context]
        found.append([])
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            first, last = starts.get(start), ends.get(start + len(text))
            if first is not None and last is not None and last - first < longest:
                found[-1].append({"text": [text], "answer_start": [start]})
    return found


def oracle(task: Any, examples: Dataset, tokenizer: Any, data: SpanData) -> tuple[list[Prediction], Dataset]:
    """What a model that knows would predict, and the examples that have an answer it can point at, or none at all."""
    reachable = reachable_answers(examples, tokenizer, data.max_answer_length)
    kept = [n for n, answers in enumerate(examples["answers"]) if reachable[n] or not answers["text"]]
    nothing: dict[str, Any] = {"text": [], "answer_start": []}
    told = Dataset.from_list([{**examples[n], "answers": (reachable[n] or [nothing])[0]} for n in kept])
    features = task.encode(told, Codec(tokenizer), data, training=False)
    targets = task.encode(told, Codec(tokenizer), data, training=True)
    outputs = []
    for length, start, end in zip(
        features["length"], targets["start_positions"], targets["end_positions"], strict=True
    ):
        logits = np.full((2, length), -10.0, np.float32)
        logits[0, start] = logits[1, end] = 10.0
        outputs.append({"start_logits": logits[0], "end_logits": logits[1]})
    return task.decode(outputs, features, told, Codec(tokenizer), data), examples.select(kept)


@pytest.mark.parametrize("name", ["squad", "squad_v2"])
def test_contract(name: str, tokenizer: Any) -> None:
    """Gold answers become oracle logits, and those a score of 100."""
    long = "the ship sails. " * 20
    rows = [
        example("tom reed founded ambury.", "who?", ("tom reed", 0), id="a"),
        example(
            f"{long}it was 1820, they say.", "when?", ("1820", len(long) + 7), ("1820, they", len(long) + 7), id="b"
        ),
        example("the ships of émile", "whose?", ("émile", 13), id="c"),
    ]
    task = task_named(name)
    if name == "squad_v2":
        rows.append(example(long, "who knows?", id="d"))
    data = SpanData(path="x", max_length=64, doc_stride=16)
    predictions, examples = oracle(task, Dataset.from_list(rows), tokenizer, data)
    scores = score_of(task, predictions, examples)
    assert scores["exact_match"] == scores["f1"] == 100.0
    assert [p.id for p in predictions] == [row["id"] for row in rows]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param("squad", "train-v1.1-part", marks=pytest.mark.slow),
        ("squad", "validation-new-wiki"),
        ("squad_v2", "train-v2.0-part"),
    ],
)
def test_contract_on_real_questions(name: str, file: str, test_data: Path) -> None:
    vocabulary = (test_data / "vocab" / "bert-base-uncased-vocab.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)})
    task = task_named(name)
    data = SpanData(validation=str(test_data / "squad" / f"{file}.json"))
    everything = load_examples(task, data, ["validation"])["validation"]
    predictions, examples = oracle(task, everything, tokenizer, data)
    # The rest are answers of over 30 tokens, and some that begin or end inside a token ("7" in "1817").
    assert len(examples) > 0.97 * len(everything)
    scores = score_of(task, predictions, examples)
    wrong = [(p.text, row["answers"]["text"]) for p, row in zip(predictions, examples, strict=True)]
    assert scores["exact_match"] == 100.0, [w for w in wrong if w[1] and w[0] not in w[1]][:5]
    # The official script of v1.1 gives an answer that normalises to nothing ("the") an F1 of 0, even a right one.
    nothing = 0 if name == "squad_v2" else sum(normalize_answer(p.text) == "" for p in predictions)
    assert scores["f1"] == pytest.approx(100 * (1 - nothing / len(examples)))
    assert nothing <= 3


def brute_force(start: Any, end: Any, allowed: Any, longest: int) -> list[tuple[float, int, int]]:
    spans = [
        (-(start[i] + end[j]), i, j)
        for i in range(len(start))
        for j in range(i, min(len(start), i + longest))
        if allowed[i] and allowed[j]
    ]
    return sorted(spans)


@given(st.data(), st.integers(1, 12), st.integers(1, 5), st.integers(1, 8))
def test_spans_are_the_best_of_all(data: Any, size: int, longest: int, count: int) -> None:
    number = st.integers(-8, 8).map(float)
    start = np.array(data.draw(st.lists(number, min_size=size, max_size=size)))
    end = np.array(data.draw(st.lists(number, min_size=size, max_size=size)))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    found = best_spans(start, end, allowed, longest, count)
    expected = brute_force(start, end, allowed, longest)
    assert [-score for _, _, score in found] == [score for score, _, _ in expected[:count]]
    legal = {(i, j) for _, i, j in expected}
    assert all((i, j) in legal and score == start[i] + end[j] for i, j, score in found)
    assert len({(i, j) for i, j, _ in found}) == len(found)


words = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=7), min_size=1, max_size=60
).map(" ".join)


@settings(max_examples=60)
@given(context=words, data=st.data())
def test_an_answer_that_a_window_holds_comes_back(context: str, data: Any, tokenizer: Any) -> None:
    """For an answer that begins and ends with a token, which is all that an extractive model can point at."""
    offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    offsets = [(start, end) for start, end in offsets if end > start]
    assume(offsets)
    first = data.draw(st.integers(0, len(offsets) - 1))
    last = data.draw(st.integers(first, min(len(offsets) - 1, first + 5)))
    start, end = offsets[first][0], offsets[last][1]
    assume(start < end)
    assume(context[start:end].strip())
    section = SpanData(path="x", max_length=32, doc_stride=10, max_answer_length=30)
    row = example(context, "who?", (context[start:end], start))
    predictions, _ = oracle(SQUAD, Dataset.from_list([row]), tokenizer, section)
    assume(predictions)  # several tokens may stand for one character, and then none of them for the answer
    (prediction,) = predictions
    windows = SQUAD.encode(Dataset.from_list([row]), Codec(tokenizer), section, training=True)
    held = any(position != 0 for position in windows["start_positions"])
    assert held, "with an overlap of 10 tokens, some window holds an answer of up to 6"
    assert context[prediction.start : prediction.end] == prediction.text
    # Neighbouring tokens may share characters (one character can normalise into several tokens).
    assert prediction.start <= start
    assert prediction.end >= end
    if sum(1 for a, b in offsets if a < end and b > start) == last - first + 1:
        assert prediction.text == context[start:end]


def test_windows_cover_the_passage(tokenizer: Any) -> None:
    context = " ".join(f"word {n}." for n in range(60))
    section = SpanData(path="x", max_length=40, doc_stride=12)
    features = SQUAD.encode(Dataset.from_list([example(context, "who?")]), Codec(tokenizer), section, training=False)
    assert len(features) > 3
    covered = np.zeros(len(context), bool)
    for window in features:
        assert window["length"] == len(window["input_ids"]) <= 40
        for start, end in np.array(window["offsets"]).reshape(-1, 2):
            if start >= 0:
                covered[start:end] = True
    assert all(covered[n] or context[n].isspace() for n in range(len(context)))


def test_training_windows_without_the_answer_point_at_cls(tokenizer: Any) -> None:
    context = "tom " + "the ship " * 40
    section = SpanData(path="x", max_length=32, doc_stride=8)
    features = SQUAD.encode(
        Dataset.from_list([example(context, "who?", ("tom", 0))]), Codec(tokenizer), section, training=True
    )
    assert features["start_positions"][0] > 0
    assert set(features["start_positions"][1:]) == {0}


def test_no_room_for_the_passage_is_said(tokenizer: Any) -> None:
    section = SpanData(path="x", max_length=32, doc_stride=16)
    rows = [example("a b c", "who is it? " * 10, ("a", 0), id="long-one")]
    with pytest.raises(UserError, match="example long-one: its question takes"):
        SQUAD.encode(Dataset.from_list(rows), Codec(tokenizer), section, training=False)


ROW = example("Tom Reed founded Ambury.", "Who founded Ambury?", ("Tom Reed", 0), id="q1")
OTHER = example("Ambury lies by the sea.", "Where is it?", ("by the sea", 12), id="q2")


def as_objects(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its answers as a list of objects, as in SQuAD's own files."""
    pairs = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
    return {**row, "answers": [{"text": text, "answer_start": start} for text, start in pairs]}


def nested(row: dict[str, Any]) -> dict[str, Any]:
    question = {key: as_objects(row)[key] for key in ("id", "question", "answers")}
    return {"title": "T", "paragraphs": [{"context": row["context"], "qas": [question]}]}


def test_files_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "nested.json").write_text(json.dumps({"data": [nested(ROW), nested(OTHER)]}))
    (tmp_path / "list.json").write_text(json.dumps([ROW, OTHER]))
    (tmp_path / "data.json").write_text("﻿" + json.dumps({"data": [ROW, OTHER]}), encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(ROW)}\n\n{json.dumps(OTHER)}\n")
    objects = (json.dumps(as_objects(row)) + "\n" for row in (ROW, OTHER))
    (tmp_path / "objects.jsonl").write_text("".join(objects))
    pq.write_table(pa.Table.from_pylist([ROW, OTHER]), tmp_path / "rows.parquet")
    loaded = []
    for file in sorted(tmp_path.iterdir()):
        examples = load_examples(SQUAD, SpanData(validation=str(file)), ["validation"])["validation"]
        loaded.append([{k: v for k, v in row.items() if k != "title"} for row in examples])
    assert len(loaded) == 6
    assert all(rows == loaded[0] for rows in loaded)
    assert loaded[0][0] == ROW


def test_a_folder_with_a_file_a_split(tmp_path: Path) -> None:
    (tmp_path / "train-v1.1.jsonl").write_text(json.dumps(ROW))
    (tmp_path / "dev-v1.1.jsonl").write_text(json.dumps(OTHER))
    splits = load_examples(SQUAD, SpanData(path=str(tmp_path)), ["train", "validation"])
    assert [splits[name]["id"][0] for name in ("train", "validation")] == ["q1", "q2"]
    with pytest.raises(UserError, match="no file for the split test"):
        load_examples(SQUAD, SpanData(path=str(tmp_path)), ["test"])
    (tmp_path / "train-more.jsonl").write_text(json.dumps(ROW))
    with pytest.raises(UserError, match=r"2 files: .* for the split train"):
        load_examples(SQUAD, SpanData(path=str(tmp_path)), ["train"])


def line(**changes: Any) -> str:
    return json.dumps({k: v for k, v in {**ROW, **changes}.items() if v is not ...}) + "\n"


BAD_ROWS = {
    "broken JSON": ('{"id": "x",\n', "rows.jsonl:1: broken JSON"),
    "not an object": ("3\n", "rows.jsonl:1: expected an object"),
    "no context": (line(context=...), "rows.jsonl:1: no 'context'"),
    "mistyped": (line(question=..., qestion="Who?"), "did you mean qestion?"),
    "empty question": (line(question=" "), "'question' is empty or not text"),
    "number": (line(context=3), "'context' is empty or not text"),
    "misaligned": (line(answers={"text": ["Tom"], "answer_start": [1]}), "answer 'Tom' is not at character 1"),
    "negative": (line(answers={"text": ["Tom"], "answer_start": [-1]}), "is not at character -1"),
    "beyond": (line(answers={"text": ["Tom"], "answer_start": [999]}), "is not at character 999"),
    "empty answer": (line(answers={"text": [""], "answer_start": [0]}), "an answer is empty"),
    "no answer": (line(answers={"text": [], "answer_start": []}), "use the task squad_v2"),
    "uneven": (line(answers={"text": ["Tom", "Reed"], "answer_start": [0]}), "'answers' has 2 texts and 1 starts"),
    "shape": (line(answers="Tom"), "'answers' is neither"),
    "start type": (line(answers={"text": ["Tom"], "answer_start": ["0"]}), "a whole number of characters"),
    "twice": (line() + line(), "rows.jsonl:2: id 'q1' is taken by"),
    "empty": ("", "holds no question"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_named_with_their_place(case: str, tmp_path: Path) -> None:
    content, message = BAD_ROWS[case]
    file = tmp_path / "rows.jsonl"
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        load_examples(SQUAD, SpanData(validation=str(file)), ["validation"])
    assert message in str(caught.value)


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(line(id=str(n), question="") for n in range(9)))
    with pytest.raises(UserError) as caught:
        load_examples(SQUAD, SpanData(validation=str(file)), ["validation"])
    assert len(caught.value.problems) == 4
    assert "6 more" in caught.value.problems[-1]


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"data": [\n{"paragraphs": 3}]}')
    (tmp_path / "b.json").write_text('{"data": [\n{,}]}')
    (tmp_path / "c.json").write_bytes(b"\xff\xfe{}")
    (tmp_path / "d.json").write_text('{"questions": []}')
    (tmp_path / "e.parquet").write_text("none")
    messages = {
        "a.json": "expected an object with a list named 'paragraphs'",
        "b.json": "b.json:2: broken JSON",
        "c.json": "c.json: not UTF-8 text",
        "d.json": "a list named 'data'",
        "e.parquet": "not readable as parquet",
        "none.json": "no such file",
    }
    for name, message in messages.items():
        with pytest.raises(UserError) as caught:
            load_examples(SQUAD, SpanData(validation=str(tmp_path / name)), ["validation"])
        assert message in str(caught.value)


def dataset(count: int) -> Dataset:
    rows = [example(f"Ship {n // 3} sails.", "Which?", (f"Ship {n // 3}", 0), id=str(n)) for n in range(count)]
    return Dataset.from_list(rows)


def test_scores_are_the_metrics_and_lie_in_their_intervals() -> None:
    examples = dataset(60)
    texts = [row["answers"]["text"][0] if n % 4 else "sails Ship" for n, row in enumerate(examples)]
    predictions = [Prediction(str(n), text, 1.0) for n, text in enumerate(texts)]
    scores = score_of(SQUAD, predictions, examples)
    official = Squad().compute(
        predictions=[{"id": p.id, "prediction_text": p.text} for p in predictions],
        references=[{"id": row["id"], "answers": row["answers"]} for row in examples],
    )
    for name in ("exact_match", "f1"):
        assert scores[name] == official[name]
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
    assert tuned["null_threshold"] == pytest.approx(4.0)
    assert tuned["tuned_on"]["f1"] == tuned["reported_on"]["f1"] == 100.0
    assert tuned["tuned_on"]["total"] + tuned["reported_on"]["total"] == count
    bold = SQUAD_V2.decode(outputs, features, examples, Codec(tokenizer), section, threshold=tuned["null_threshold"])
    assert score_of(SQUAD_V2, bold, examples)["f1"] == 100.0
    backwards = score_of(SQUAD_V2, bold[::-1], examples.select(range(count)[::-1]))
    assert backwards["tuned"] == score_of(SQUAD_V2, bold, examples)["tuned"]
