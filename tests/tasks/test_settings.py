"""What a row holds decides its column, and files of a split replace a dataset of all splits."""

from __future__ import annotations

from typing import Any

import pytest

from llmkit.system.errors import UserError
from llmkit.tasks.examples import first_in
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.settings import overridden


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"label": None, "score": 0.5}, "score"),
        ({"label": float("nan"), "score": 0.5}, "score"),
        ({"score": None}, "score"),
        ({"label": 1, "score": 0.5}, "label"),
        ({}, "label"),
    ],
)
def test_the_column_of_labels_is_the_first_that_holds_one(row: dict[str, Any], column: str) -> None:
    assert first_in(row, ("label", "score")) == column


def test_files_of_a_split_replace_a_dataset_of_all() -> None:
    data = LabelData(path="folder", name="en", revision="main", max_length=20)
    section = overridden(data, ["data.validation=dev-a.json"])
    assert section.model_dump(exclude_unset=True) == {"validation": "dev-a.json", "max_length": 20}
    assert overridden(data, ["data.max_length=30"]).path == "folder"
    files = LabelData(train="a.json", validation="b.json")
    assert overridden(files, ["data.validation=c.json"]).train == "a.json"
    with pytest.raises(UserError, match="path includes all splits"):
        overridden(data, ["data.path=other", "data.validation=b.json"])
