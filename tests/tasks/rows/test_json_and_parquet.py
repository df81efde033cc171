# ruff: noqa: E501 - a case a line
"""JSON in its many forms, and parquet files whose schema names their labels."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st

from llmkit.system.errors import UserError
from llmkit.system.files import json_values
from llmkit.tasks.rows.formats import file_rows

COLUMNS = ("text", "label")
A, B = {"text": "a", "label": "x"}, {"text": "b", "label": "y"}


def read(file: Path, content: str | bytes | None = None) -> list[Any]:
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return [row for _, row in file_rows(file, COLUMNS)]


def refusal(file: Path, content: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        read(file, content)
    return f"{caught.value}: {caught.value.remedy}".replace(f"{file.parent}/", "")


@pytest.mark.parametrize(
    "content",
    [
        f"{json.dumps(A)}\n{json.dumps(B)}\n",
        f"{json.dumps(A, indent=2)}\n{json.dumps(B, indent=2)}",
        json.dumps([A, B]),
        json.dumps({"version": 1, "data": [A, B]}),
        f"\ufeff{json.dumps([A, B], indent=2)}\r\n",
    ],
)
def test_a_json_file_of_any_form(content: str, tmp_path: Path) -> None:
    for name in ("t.json", "T.JSON", "without-an-ending"):
        assert read(tmp_path / name, content) == [A, B]
    assert read(tmp_path / "t.json.gz", gzip.compress(content.encode())) == [A, B]


def test_places_of_objects_one_after_another(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(f"\n{json.dumps(A, indent=0)}\n\n{json.dumps(B)}")
    assert [place.rpartition(":")[2] for place, _ in file_rows(tmp_path / "t.json", COLUMNS)] == ["2", "7"]
    assert read(tmp_path / "one.json", json.dumps(A)) == [A]
    assert read(tmp_path / "none.json", " \n") == []


@given(
    st.lists(st.integers() | st.text() | st.dictionaries(st.text(), st.text())), st.sampled_from(["\n", " ", "\r\n"])
)
def test_json_values_one_after_another_come_back(values: list[Any], between: str) -> None:
    text = between.join(json.dumps(value, ensure_ascii=False) for value in values)
    assert [value for _, value in json_values(text, Path("x"))] == values
    lines = [line for line, _ in json_values(text, Path("x"))]
    if "\n" in between:
        assert lines == list(range(1, len(values) + 1))


WRONG: dict[str, tuple[str, str | bytes, str]] = {
    "a broken line": ("t.json", '{"a": 1}\n{"a": 2}\n{"a":\n', "t.json:4: broken JSON"),
    "columns": ("t.json", '{"text": ["a"], "label": ["x"]}', "t.json: neither a list of rows nor an object with a list named 'data', but an object with 'text', 'label': give rows, not columns; pandas writes them with to_json(FILE, orient='records', lines=True"),
    "columns of pandas": ("t.json", '{"text": {"0": "a"}, "label": {"0": "x"}}', "t.json: neither a list of rows"),
    "nothing": ("t.json", "{}", "t.json: neither a list of rows nor an object with a list named 'data': give rows with text, label"),
    "text without columns": ("t.txt", "I like it\n", "t.txt: a .txt file holds words and their tags, but this task reads text, label: give rows in a file that ends in .jsonl"),
    "another key": ("t.json", '{"rows": 3, "version": 1}', "t.json: neither a list of rows nor an object with a list named 'data', but an object with 'rows', 'version': give rows with text, label"),
    "a document of several lines": ("t.jsonl", '{\n"text": "a"}\n', "t.jsonl:1: broken JSON: Expecting property name enclosed in double quotes"),
    "a table of Excel": ("t.xlsx", b"PK\x03\x04\xff", "t.xlsx: the end of its name says no known format: give a file that ends in .jsonl, .json, .csv"),
    "UTF-16": ("t.json", "[]".encode("utf-16"), "t.json:1: not UTF-8 text but UTF-16 (byte 0 of the line)"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_json_that_cannot_be_read_names_the_cure(case: str, tmp_path: Path) -> None:
    name, content, told = WRONG[case]
    assert refusal(tmp_path / name, content).startswith(told)
    if case == "a document of several lines":
        assert "if the file is one JSON document, let its name end in .json" in refusal(tmp_path / name, content)


def test_a_sentence_alone_in_its_file(tmp_path: Path) -> None:
    row = {"tokens": ["Tom"], "tags": ["B-PER"]}
    (tmp_path / "t.json").write_text(json.dumps(row))
    assert [found for _, found in file_rows(tmp_path / "t.json", ("tokens", "tags"))] == [row]
    (tmp_path / "t.json").write_text(json.dumps({"tokens": [["Tom"]], "tags": [["B-PER"]]}))
    with pytest.raises(UserError, match="but an object with 'tokens', 'tags'"):
        list(file_rows(tmp_path / "t.json", ("tokens", "tags")))


def test_parquet_names_its_labels(tmp_path: Path) -> None:
    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["no", "yes"]),
            "tags": List(ClassLabel(names=["O", "B-PER"])),
            "number": Value("int64"),
        }
    )
    rows = [
        {"text": "a", "label": 1, "tags": [0, 1], "number": 1},
        {"text": "b", "label": -1, "tags": [], "number": 0},
        {"text": "c", "label": None, "tags": None, "number": None},
    ]
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "T.PARQUET"))
    assert read(tmp_path / "T.PARQUET") == [
        {"text": "a", "label": "yes", "tags": ["O", "B-PER"], "number": 1},
        {"text": "b", "label": None, "tags": [], "number": 0},
        {"text": "c", "label": None, "tags": None, "number": None},
    ]


def test_parquet_with_notes_of_a_newer_version(tmp_path: Path) -> None:
    """A kind of column that this version does not know: the numbers are read."""
    for note in ({"info": {"features": {"label": {"_type": "Hologram"}}}}, {"info": {"features": {"label": 3}}}, 7):
        schema = pa.schema([("label", pa.int64())], metadata={"huggingface": json.dumps(note)})
        pq.write_table(pa.table({"label": [1]}, schema=schema), tmp_path / "t.parquet")
        assert read(tmp_path / "t.parquet") == [{"label": 1}]


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="two columns are named 'text'"):
        read(tmp_path / "t.parquet")
