"""Rows in memory read like those of a Dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from llmkit.tasks.columns import Columns

ROWS: dict[str, list[Any]] = {"id": ["a", "b", "c"], "ids": [[1], [2, 3], []], "length": [1, 2, 0]}


@pytest.mark.parametrize(
    "key", ["id", 0, 2, -1, slice(0, 2), slice(1, None), np.array([2, 0]), np.array([], int)], ids=repr
)
def test_whatever_is_asked_for(key: Any) -> None:
    ours, theirs = Columns.from_dict(ROWS)[key], Dataset.from_dict(ROWS)[key]
    assert ours == (list(theirs) if isinstance(key, str) else theirs)


def test_names_lengths_and_rows() -> None:
    ours, theirs = Columns(ROWS), Dataset.from_dict(ROWS)
    assert list(ours) == list(theirs)
    assert len(ours) == len(theirs)
    assert ours.select_columns(["id", "length"]).column_names == ["id", "length"]
    assert ours.column_names == theirs.column_names
    assert len(Columns({})) == 0
