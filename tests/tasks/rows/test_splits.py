"""Which files make up a split: several files, patterns, folders, shards, and saved datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.rows.splits import is_pattern
from llmkit.tasks.settings import data_origin

OWN = TASKS["classification"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: messages have short paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(file: str, *texts: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": text, "label": "a"}) + "\n" for text in texts)
    Path(file).write_text("".join(lines), encoding="utf-8")


def texts(split: str = "train", **data: Any) -> list[str]:
    found: list[str] = load_examples(OWN, LabelData(**data), [split])[split]["text"][:]
    return found


def refusal(split: str = "train", **data: Any) -> str:
    with pytest.raises(UserError) as caught:
        texts(split, **data)
    return f"{caught.value}: {caught.value.remedy}"


def dataset(*texts: str) -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    return Dataset.from_list([{"text": text, "label": 1} for text in texts], features=features)


def test_a_split_of_several_files(folder: Path) -> None:
    write("b.jsonl", "b1", "b2")
    write("a.jsonl", "a")
    write("more/c.jsonl", "c")
    assert texts(train=["b.jsonl", "a.jsonl"]) == ["b1", "b2", "a"], "in the order of the list"
    assert texts(train="*.jsonl") == ["a", "b1", "b2"]
    assert texts(train="**/*.jsonl") == ["a", "b1", "b2", "c"]
    assert texts(train="more") == ["c"]
    assert texts(train=["more", "[ab].jsonl", "a.jsonl", str(folder / "*.jsonl")]) == ["c", "a", "b1", "b2"], (
        "each file once"
    )
    assert load_examples(OWN, LabelData(train="*.jsonl"), ["train"])["train"]["id"][:] == ["0", "1", "2"]


def test_a_file_whose_name_is_like_a_pattern(folder: Path) -> None:
    write("rows [1].jsonl", "x")
    assert texts(train="rows [1].jsonl") == ["x"]
    assert not is_pattern("rows [1].jsonl")
    assert data_origin("rows [1].jsonl", OWN)["validation"] == "rows [1].jsonl"


def test_a_pattern_serves_every_split_of_an_evaluation(folder: Path) -> None:
    write("a.jsonl", "a")
    write("b.jsonl", "b")
    assert texts("test", **data_origin("*.jsonl", OWN)) == ["a", "b"]


def test_files_that_are_not_there(folder: Path) -> None:
    write("a.jsonl", "a")
    assert refusal(train=["a.jsonl", "b.jsonl"]).startswith("data.train: no such file: b.jsonl")
    assert refusal(train="*.csv").startswith("data.train: no file matches *.csv")
    Path("empty").mkdir()
    assert refusal(train="empty").startswith("data.train: empty holds no file of rows: give files that end in .jsonl")
    assert "name the files of each split: data.train='*.jsonl'" in refusal(path="*.jsonl")


def test_a_folder_as_a_split_is_read_whole_or_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("part/1.jsonl", "a")
    write("part/.hidden.jsonl", "b")
    Path("part/notes.txt").write_text("a note")
    Path("part/3.xlsx").write_bytes(b"PK")
    assert texts(train="part") == ["a"]
    assert "part: not read, since they are not files of rows: 3.xlsx, notes.txt" in capsys.readouterr().err
    write("both/train.jsonl", "a")
    write("both/dev.jsonl", "b")
    told = refusal(train="both")
    assert told.startswith("data.train: both holds the files of several splits: dev.jsonl, train.jsonl")
    assert "data.path=both" in told


@pytest.mark.parametrize("place", ["all", "all/data", "all/en"])
def test_the_shards_of_a_dataset(place: str, folder: Path) -> None:
    """A repository of the Hub has its files in data/, or in a folder for each configuration."""
    for number, text in enumerate("abc"):
        write(f"{place}/train-0000{number}-of-00003.jsonl", text)
    write(f"{place}/validation-00000-of-00001.jsonl", "v")
    write("all/README.jsonl", "no split")
    data = {"path": "all", "name": "en" if place == "all/en" else None}
    assert texts(**data) == ["a", "b", "c"]
    assert texts("validation", **data) == ["v"]
    Path(f"{place}/train-00001-of-00003.jsonl").unlink()
    told = refusal(**data)
    assert told.startswith(f"{place} holds 2 of the 3 files of the split train: train-00000-of-00003.jsonl, ")
    assert f"data.train='{place}/train*'" in told
    assert texts(train=f"{place}/train*") == ["a", "c"]


def test_a_folder_for_each_split(folder: Path) -> None:
    write("all/train/1.jsonl", "a")
    write("all/train/2.jsonl", "b")
    write("all/dev/1.jsonl", "v")
    assert texts(path="all") == ["a", "b"]
    assert texts("validation", path="all") == ["v"]
    write("all/train/train.jsonl", "c")
    write("all/train/test.jsonl", "d")
    told = refusal(path="all")
    assert told.startswith("data.train: all/train holds the files of several splits: 1.jsonl, 2.jsonl, test.jsonl, ")
    assert told.endswith("give a pattern: data.train='all/train/train*'")


def test_what_a_folder_lacks_is_said(folder: Path) -> None:
    write("all/sub/train.jsonl", "a")
    told = refusal(path="all")
    assert "all holds no file for the split train, but its folders do: sub" in told
    assert "data.path=all/sub" in told
    Path("all/train.xlsx").write_bytes(b"PK")
    Path("all/sub/train.jsonl").unlink()
    assert "all holds no file for the split train in a format that is read: train.xlsx: save it as" in refusal(
        path="all"
    )
    write("all/train-v1.jsonl", "a")
    write("all/train-v2.jsonl", "b")
    told = refusal(path="all")
    assert told.startswith("all holds 2 files: train-v1.jsonl, train-v2.jsonl for the split train")
    assert "data.train='all/train-v*'" in told
    write("all/dev-a.jsonl", "a")
    write("all/dev-b.jsonl", "b")
    told = refusal("validation", path="all")
    assert told.endswith("data.validation='all/dev-*'")
    assert texts("validation", validation="all/dev-*") == ["a", "b"]
    write("all/val.jsonl", "c")
    assert refusal("validation", path="all").endswith("name one: data.validation=PATH"), "no pattern is for all"


def test_a_folder_of_files_without_the_name_of_a_split(folder: Path) -> None:
    write("all/1.jsonl", "a")
    assert "or read all files of the folder: data.test=all" in refusal("test", path="all")


def test_a_dataset_of_save_to_disk(folder: Path) -> None:
    dataset("a").save_to_disk("halves/train")
    Path("halves/train/data-00000-of-00001.arrow").write_bytes(b"cut off")
    assert "not readable as a dataset of `save_to_disk`" in refusal(path="halves")
    dataset("a").save_to_disk("halves/train")
    assert texts(path="halves") == ["a"]
    DatasetDict(train=dataset("a", "b"), dev=dataset("v")).save_to_disk("disk")
    examples = load_examples(OWN, LabelData(path="disk"), ["train", "validation"])
    assert examples["train"]["text"][:] == ["a", "b"]
    assert examples["train"]["label"][:] == ["yes", "yes"], "by name, as on the Hub"
    assert examples["validation"]["text"][:] == ["v"]
    assert "disk has no split 'test': its splits are train, dev" in refusal("test", path="disk")
    assert texts(train="disk/train", validation="disk/dev") == ["a", "b"]
    assert "data.train: disk is a dataset with the splits train, dev" in refusal(train="disk")
    for split in ("train", "test"):
        assert texts(split, path="disk/train") == ["a", "b"], "without splits of its own, it serves each of them"
    for file in Path("disk/train").glob("*.arrow"):
        file.write_bytes(b"x")
    assert "disk/train: not readable as a dataset of `save_to_disk`" in refusal(path="disk")


def test_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell does not expand the ~ of data.train=~/rows.jsonl."""
    monkeypatch.setenv("HOME", str(folder))
    write("rows.jsonl", "a")
    assert texts(train="~/rows.jsonl") == texts(train="~/*.jsonl") == ["a"]


@pytest.mark.parametrize("given", [3, [], [3], {"a": 1}])
def test_neither_a_file_nor_a_list(given: Any) -> None:
    with pytest.raises(ValueError, match="should be a file, a pattern, a folder, or a list of these") as caught:
        LabelData(train=given)
    assert len(caught.value.errors()) == 1  # type: ignore[attr-defined]  # pydantic's
