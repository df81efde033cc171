"""Files as people have them: names of splits, ids, answers in older forms, and mistakes that hide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.spans import example
from support.tasks import letters

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec

SQUAD, SQUAD_V2 = TASKS["squad"], TASKS["squad_v2"]
SPLITS = ["train", "validation"]
CONTEXT = "Tom Reed founded Ambury."


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    answers = {"text": ["Tom Reed"], "answer_start": [0]}
    values = {"id": f"q{number}", "context": CONTEXT, "question": "Who?", "answers": answers, **changes}
    return {name: value for name, value in values.items() if value is not ...}


def article(*questions: Any, **changes: Any) -> dict[str, Any]:
    return {"title": "Ambury", "paragraphs": [{"context": CONTEXT, "qas": list(questions), **changes}]}


def load(file: Path, task: Any = SQUAD) -> list[dict[str, Any]]:
    return list(load_examples(task, SpanData(validation=str(file)), ["validation"])["validation"])


def problems(file: Path, task: Any = SQUAD) -> str:
    with pytest.raises(UserError) as caught:
        load(file, task)
    return "\n".join(caught.value.problems)


def write(folder: Path, name: str, content: Any) -> Path:
    file = folder / name
    lines = "\n".join(json.dumps(item, ensure_ascii=False) for item in content) if name.endswith("l") else None
    file.write_text(lines if lines is not None else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["validation.json", "valid.json", "val.json", "dev-v2.0.json", "validation-new.jsonl"])
def test_the_validation_split_by_any_of_its_names(name: str, tmp_path: Path) -> None:
    write(tmp_path, name, [row()])
    write(tmp_path, "train-v1.1.json", [row(2)])
    write(tmp_path, "notes.json", ["not data"])
    splits = load_examples(SQUAD, SpanData(path=str(tmp_path)), ["train", "validation"])
    assert {split: rows["id"][:] for split, rows in splits.items()} == {"train": ["q2"], "validation": ["q1"]}


def test_one_file_stands_for_every_split(tmp_path: Path) -> None:
    file = write(tmp_path, "mine.json", [row()])
    splits = load_examples(SQUAD, SpanData(path=str(file)), ["train", "test"])
    assert [splits[name]["id"][:] for name in ("train", "test")] == [["q1"], ["q1"]]


def test_a_split_that_local_data_cannot_have(tmp_path: Path) -> None:
    file = write(tmp_path, "train.json", [row()])
    for data in (SpanData(path=str(tmp_path)), SpanData(train=str(file))):
        with pytest.raises(UserError, match=r"local data has no split 'validaton' \(did you mean validation\?\)"):
            load_examples(SQUAD, data, ["validaton"])
    with pytest.raises(UserError, match="no validation data is given"):
        load_examples(SQUAD, SpanData(train=str(file)), ["validation"])
    with pytest.raises(UserError, match="the demo has no split 'test'"):
        load_examples(SQUAD, SpanData(path="demo"), ["test"])


@pytest.mark.parametrize("path", ["./none", "none.json", "/none/at/all"])
def test_a_path_is_not_taken_for_a_hub_id(path: str) -> None:
    with pytest.raises(UserError, match=f"data.path: no such file or folder: {path}"):
        load_examples(SQUAD, SpanData(path=path), ["train"])


def test_separators_of_unicode_do_not_end_a_json_line(tmp_path: Path) -> None:
    """JSON may hold U+2028, U+0085 and others as they are; `str.splitlines` would break the line there."""
    context = "Tom\u2028Reed\x85founded\u2029it."
    rows = [row(context=context, answers={"text": ["Reed"], "answer_start": [4]})]
    (read,) = load(write(tmp_path, "rows.jsonl", rows))
    assert read["context"] == context


def test_answers_of_squad_2_in_its_own_json(tmp_path: Path) -> None:
    """A question that is impossible has no answer, whatever plausible ones stand beside it."""
    plausible = [{"text": "Tom", "answer_start": 0}]
    questions = [
        {"id": "a", "question": "Who?", "answers": plausible, "is_impossible": False},
        {"id": "b", "question": "Who fled?", "answers": [], "plausible_answers": plausible, "is_impossible": True},
        {"id": "c", "question": "Who hid?", "plausible_answers": plausible, "is_impossible": True},
    ]
    file = write(tmp_path, "dev.json", {"version": "v2.0", "data": [article(*questions)]})
    read = load(file, SQUAD_V2)
    assert [(r["id"], r["title"], r["answers"]["text"]) for r in read] == [
        ("a", "Ambury", ["Tom"]),
        ("b", "Ambury", []),
        ("c", "Ambury", []),
    ]
    assert "qas[1]: no answer; for questions without an answer use --task squad_v2" in problems(file)


def test_a_mistyped_field_of_nested_json_is_not_read_as_no_answer(tmp_path: Path) -> None:
    """In SQuAD 2.0 no answers is a legal value: a typo must not turn every question into an impossible one."""
    wrong = {"id": "a", "question": "Who?", "answer": [{"text": "Tom", "answer_start": 0}]}
    file = write(tmp_path, "answer.json", {"data": [article(wrong)]})
    assert "data[0].paragraphs[0].qas[0]: no 'answers' (did you mean answer?)" in problems(file, SQUAD_V2)
    right = {"id": "a", "question": "Who?", "answers": []}
    file = write(tmp_path, "context.json", {"data": [article(right, context=None, contxt=CONTEXT)]})
    assert "'context' is empty (did you mean contxt?)" in problems(file, SQUAD_V2)
    file = write(tmp_path, "questions.json", {"data": [article("Who?")]})
    assert "data[0].paragraphs[0].qas[0]: expected an object" in problems(file)


def test_ids_may_be_numbers_and_may_be_left_out(tmp_path: Path) -> None:
    assert [r["id"] for r in load(write(tmp_path, "n.json", [row(id=7), row(id=8)]))] == ["7", "8"]
    assert "id '7' is taken by" in problems(write(tmp_path, "twice.json", [row(id=7), row(id="7")]))
    rows = load(write(tmp_path, "none.json", [row(id=...), row(id=...)]))
    assert [r["id"] for r in rows] == ["0", "1"]


def test_parquet_of_other_makes(tmp_path: Path) -> None:
    """Answers as a list of objects, columns of other names, and another table altogether."""
    objects = [{"text": "Tom", "answer_start": 0}]
    pq.write_table(pa.Table.from_pylist([row(answers=objects, extra=1.5)]), tmp_path / "objects.parquet")
    (read,) = load(tmp_path / "objects.parquet")
    assert read["answers"] == {"text": ["Tom"], "answer_start": [0]}
    assert "extra" not in read
    pq.write_table(pa.Table.from_pylist([row(context=..., contexts=CONTEXT)]), tmp_path / "mistyped.parquet")
    assert "row 0: no 'context' (did you mean contexts?)" in problems(tmp_path / "mistyped.parquet")
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "other.parquet")
    assert "no 'context'" in problems(tmp_path / "other.parquet")
    floats = {"text": ["Tom"], "answer_start": [0.0]}
    pq.write_table(pa.Table.from_pylist([row(answers=floats)]), tmp_path / "floats.parquet")
    assert "a whole number of characters" in problems(tmp_path / "floats.parquet")


def test_half_a_surrogate_pair_is_a_problem_of_its_row(tmp_path: Path) -> None:
    """JSON can escape what is no text; Arrow would end in a UnicodeEncodeError."""
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row()) + "\n" + json.dumps(row(2, question="Who \ud83d?")))
    assert "rows.jsonl:2: 'question' holds half a surrogate pair" in problems(file)


def test_problems_of_all_kinds_are_shown_up_to_three(tmp_path: Path) -> None:
    bad = [
        row(1, question=3),
        row(2),
        row(2),
        row(3, answers={"text": ["Reed"], "answer_start": [0]}),
        row(4, context=""),
        row(5, answers=[{"text": "Tom"}]),
    ]
    shown = problems(write(tmp_path, "rows.jsonl", bad)).splitlines()
    assert "rows.jsonl:1: 'question' is empty or not text" in shown[0]
    assert "rows.jsonl:3: id 'q2' is taken by" in shown[1]
    assert shown[1].endswith("rows.jsonl:2")
    assert "rows.jsonl:4: answer 'Reed' is not at character 0" in shown[2]
    assert shown[2].endswith(", but at character 4")
    assert shown[3:] == ["… and 2 more like it in the validation split"]


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
    "not an object": (
        "3\n",
        "rows.jsonl:1: expected an object with id, title",
    ),
    "no context": (line(context=...), "rows.jsonl:1: no 'context'"),
    "mistyped": (line(question=..., qestion="Who?"), "did you mean qestion?"),
    "empty question": (line(question=" "), "'question' is empty or not text"),
    "number": (line(context=3), "'context' is empty or not text"),
    "misaligned": (line(answers={"text": ["Tom"], "answer_start": [1]}), "answer 'Tom' is not at character 1"),
    "negative": (line(answers={"text": ["Tom"], "answer_start": [-1]}), "is not at character -1"),
    "beyond": (line(answers={"text": ["Tom"], "answer_start": [999]}), "is not at character 999"),
    "empty answer": (line(answers={"text": [""], "answer_start": [0]}), "use --task squad_v2"),
    "empty beside one": (line(answers={"text": ["Tom", " "], "answer_start": [0, 0]}), "an answer is empty"),
    "no answer": (line(answers={"text": [], "answer_start": []}), "use --task squad_v2"),
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
        "c.json": "c.json:1: not UTF-8 text",
        "d.json": "a list named 'data'",
        "e.parquet": "not readable as parquet",
        "none.json": "no such file",
    }
    for name, message in messages.items():
        with pytest.raises(UserError) as caught:
            load_examples(SQUAD, SpanData(validation=str(tmp_path / name)), ["validation"])
        assert message in str(caught.value)


def test_a_question_without_an_answer_in_every_form(tmp_path: Path) -> None:
    """Labelling tools write an empty text, at -1 or 0, or say that the question is impossible."""
    forms: list[dict[str, Any]] = [
        {"answers": {"text": [], "answer_start": []}},
        {"answers": {"text": [""], "answer_start": [-1]}},
        {"answers": [{"text": "", "answer_start": 0}]},
        {"answers": [{"text": " ", "answer_start": -1}, {"text": "", "answer_start": -1}]},
        {"answers": None, "is_impossible": True},
        {"answers": {"text": ["Tom"], "answer_start": [0]}, "is_impossible": True},
        {"answers": ..., "is_impossible": True},
    ]
    file = write(tmp_path, "rows.jsonl", [row(number, **form) for number, form in enumerate(forms)])
    assert [r["answers"]["text"] for r in load(file, SQUAD_V2)] == [[]] * len(forms)
    assert problems(file).startswith(f"{file}:1: no answer; for questions without an answer use --task squad_v2")
    (answered,) = load(write(tmp_path, "possible.jsonl", [row(is_impossible=False)]), SQUAD_V2)
    assert answered["answers"]["text"] == ["Tom Reed"]
    examples = load_examples(SQUAD_V2, SpanData(train=str(file), validation=str(tmp_path / "possible.jsonl")), SPLITS)
    assert list(SQUAD_V2.describe_data(examples, Codec(letters()))) == [
        (False, "train: 7 of 7 questions have no answer"),
        (False, "validation: 0 of 1 questions have no answer"),
    ]
    assert not list(SQUAD.describe_data(examples, Codec(letters())))


def test_a_list_of_paragraphs_without_their_article(tmp_path: Path) -> None:
    """SimpleTransformers reads a list of paragraphs."""
    paragraphs = [nested(ROW)["paragraphs"][0], nested(OTHER)["paragraphs"][0]]
    read = load(write(tmp_path, "rows.json", paragraphs))
    assert [(r["id"], r["answers"]) for r in read] == [(r["id"], r["answers"]) for r in (ROW, OTHER)]
    paragraphs[1]["qas"][0]["answers"] = []
    assert "bad.json: data[1].qas[0]: no answer" in problems(write(tmp_path, "bad.json", paragraphs))
