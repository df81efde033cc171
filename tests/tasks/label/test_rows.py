"""Rows of classification and regression: files of every form, labels by name or number, and bad rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.hub_repos import glue_rows
from support.labels import examples_from, rows_for, write_rows

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import examples_of, load_examples
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.values import Prediction

OWN = TASKS["classification"]
FORMS: dict[str, Callable[[Path, list[dict[str, Any]]], object]] = {
    "rows.jsonl": write_rows,
    "rows.json": lambda file, rows: file.write_text(json.dumps(rows)),
    "rows.csv": lambda file, rows: write_table(file, rows, ","),
    "rows.tsv": lambda file, rows: write_table(file, rows, "\t"),
    "rows.parquet": lambda file, rows: pq.write_table(pa.Table.from_pylist(rows), file),
}


def write_table(file: Path, rows: list[dict[str, Any]], separator: str) -> None:
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), delimiter=separator, quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)


def test_files_of_every_form_and_columns_of_any_name(tmp_path: Path) -> None:
    rows = [
        {"review": "it is calm, he said", "about": "sea", "stars": 5},
        {"review": "a storm", "about": "", "stars": 10},
    ]
    loaded = []
    for name, write in FORMS.items():
        write(tmp_path / name, rows)
        columns = {"text_column": "review", "pair_column": "about", "label_column": "stars"}
        data = LabelData(train=str(tmp_path / name), **columns)
        loaded.append(load_examples(OWN, data, ["train"])["train"].to_list())
    assert all(rows == loaded[0] for rows in loaded)
    assert loaded[0][1] == {"id": "1", "text": "a storm", "pair": "", "label": "10"}


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["b", "a", "b"], ("a", "b")),
        ([10, 2, -1], ("-1", "2", "10")),
        (["10", "9"], ("9", "10")),
        ([1.0, 0.0], ("0", "1")),
        (["1.0", "0", "1", "-2."], ("-2", "0", "1")),
        ([True, "True", "FALSE", False], ("false", "true")),
        ([True, False], ("false", "true")),
        (["2", "x", "10"], ("10", "2", "x")),
        ([" a", "b "], ("a", "b")),
        (["1.2.3", "v1.5"], ("1.2.3", "v1.5")),
    ],
)
def test_labels_are_text_and_numbered_by_value_or_alphabet(given: list[Any], labels: tuple[str, ...]) -> None:
    assert OWN.labels(examples_from(OWN, *({"text": "a", "label": label} for label in given))) == labels


BAD_ROWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "text column": (
        "classification",
        {"txt": "a", "label": 1},
        "no 'text' (did you mean txt?); fields are txt, label; choose one with data.text_column",
    ),
    "label column": (
        "classification",
        {"text": "a", "labels": 1},
        "no 'label' (did you mean labels?); fields are ",
    ),
    "pair column": ("glue/mnli", {"premise": "a", "label": 1}, "no 'hypothesis'; fields are premise, label"),
    "number": ("classification", {"text": 7, "label": 1}, "'text' is not text"),
    "empty": ("classification", {"text": " ", "label": 1}, "'text' is empty"),
    "null": ("classification", {"text": None, "label": 1}, "'text' is empty"),
    "not a text": ("classification", {"text": float("nan"), "label": 1}, "'text' is empty"),
    "empty pair": ("glue/qqp", {"question1": "", "question2": " ", "label": 1}, "'question1' is empty"),
    "surrogate": ("classification", {"text": "\ud800", "label": 1}, "'text' holds half a surrogate pair"),
    "surrogate label": ("classification", {"text": "a", "label": "\ud800"}, "'label' holds half a surrogate pair"),
    "share": ("classification", {"text": "a", "label": 0.5}, "'label' is no label but a number, 0.5; to learn"),
    "share in a table": ("classification", {"text": "a", "label": "-.5"}, "'label' is no label but a number, '-.5'"),
    "list": ("classification", {"text": "a", "label": [1]}, "'label' is a list, [1], but a text has one label"),
    "no label": ("classification", {"text": "a", "label": None}, "'label' is empty"),
    "not a number": ("classification", {"text": "a", "label": float("nan")}, "'label' is empty"),
    "blank label": ("classification", {"text": "a", "label": " "}, "'label' is empty"),
    "unknown name": (
        "glue/sst2",
        {"sentence": "a", "label": "positiv"},
        "'label' is 'positiv' (did you mean positive?); labels are negative, positive, or their numbers 0 to 1",
    ),
    "unknown number": ("glue/sst2", {"sentence": "a", "label": 2}, "'label' is '2'; labels are negative, positive"),
    "truth": ("glue/qnli", {"question": "a", "sentence": "b", "label": True}, "'label' is 'true'; labels are"),
    "no regression": ("glue/stsb", {"sentence1": "a", "sentence2": "b", "label": "high"}, "'label' is not a number"),
    "infinite": ("glue/stsb", {"sentence1": "a", "sentence2": "b", "label": "inf"}, "'label' is not a number: 'inf'"),
    "truth as number": ("glue/stsb", {"sentence1": "a", "sentence2": "b", "label": True}, "'label' is not a number"),
    "secret number": ("glue/stsb", {"sentence1": "a", "sentence2": "b", "label": -1.0}, "withheld"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_named_with_their_place(case: str) -> None:
    name, row, told = BAD_ROWS[case]
    good = rows_for(name)[0]
    with pytest.raises(UserError) as caught:
        examples_from(TASKS[name], good, row)
    assert str(caught.value).startswith(f"row 1: {told}") or told in str(caught.value)
    assert caught.value.remedy == "correct or remove these rows"


def test_without_labels_a_row_needs_none() -> None:
    rows = [("row 0", {"text": "a"}), ("row 1", {"text": "b", "label": 0.5})]
    examples = examples_of(OWN, rows, LabelData(path="x"), "input", labelled=False)
    assert examples["label"][:] == [None, None]


def test_a_folder_with_the_two_parts_of_mnli(tmp_path: Path) -> None:
    for name in ("train", "dev_matched", "dev_mismatched"):
        write_rows(tmp_path / f"{name}.jsonl", glue_rows("mnli"))
    mnli = TASKS["glue/mnli"]
    examples = load_examples(mnli, LabelData(path=str(tmp_path)), ["validation"])["validation"]
    ids = [f"validation_{part}-{number}" for part in ("matched", "mismatched") for number in range(3)]
    assert examples["id"][:] == ids
    # Right on all of the first, on two of the second.
    texts = [*examples["label"][:5], "entailment"]
    predictions = [Prediction(i, text, 1.0) for i, text in zip(ids, texts, strict=True)]
    scores = mnli.score(predictions, examples, LabelData(path="x"))
    assert scores["accuracy"] == 100
    assert scores["accuracy_mismatched"] == pytest.approx(200 / 3)
    low, high = scores["accuracy_mismatched_interval"]
    assert low < scores["accuracy_mismatched"] < high
    file = str(tmp_path / "dev_matched.jsonl")
    for one in ({"path": file}, {"validation": file}):
        assert "part" not in load_examples(mnli, LabelData(**one), ["validation"])["validation"].column_names
