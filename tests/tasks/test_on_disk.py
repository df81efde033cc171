"""A Dataset that is written to disk as its rows come is the one that was made in memory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, Features, List, Value
from support.tasks import fixture, section

from llmkit.system.cache import cache_folder
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS, on_disk
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import examples_fingerprint
from llmkit.tasks.on_disk import batched, dataset_of

SCHEMA = Features({"id": Value("string"), "words": List(Value("string")), "number": Value("int32")})
ROWS: list[dict[str, Any]] = [
    {"id": f"é{number}", "words": ["a", "b ü"] * (number % 3), "number": None if number % 5 == 0 else number}
    for number in range(500)
]


def in_memory(rows: list[dict[str, Any]], schema: Features | None = None) -> Dataset:
    return Dataset.from_dict({name: [row[name] for row in rows] for name in rows[0]}, features=schema)


@pytest.fixture(params=[1, 5_000, 2**26], ids=["each batch", "some batches", "none"])
def _written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "PART_BYTES", request.param)
    monkeypatch.setattr(on_disk, "BATCH_ROWS", 70)


@pytest.mark.usefixtures("_written")
@pytest.mark.parametrize("schema", [SCHEMA, None], ids=["types given", "types found"])
def test_the_rows_are_those_of_a_dataset_in_memory(schema: Features | None) -> None:
    before = set(cache_folder().glob("*"))
    ours, theirs = dataset_of(batched(ROWS), schema), in_memory(ROWS, schema)
    assert ours.features == theirs.features
    assert ours.to_dict() == theirs.to_dict()
    assert ours[3:77] == theirs[3:77]
    assert ours.select([499, 0])["id"][:] == ["é499", "é0"]
    assert set(cache_folder().glob("*")) == before


@pytest.mark.usefixtures("_written")
def test_a_column_may_be_empty_in_the_first_batches() -> None:
    rows = [{"a": None, "b": [], "c": 1}] * 300 + [{"a": "x", "b": ["y"], "c": 1.5}]
    assert dataset_of(batched(rows)).to_dict() == in_memory(rows).to_dict()


def test_arrays_keep_their_types() -> None:
    rows = [{"ids": np.array([1, 2], np.int32), "types": np.array([0], np.int8)}] * 3
    kinds = dataset_of(batched(rows)).features
    assert (kinds["ids"], kinds["types"]) == (List(Value("int32")), List(Value("int8")))


def test_rows_with_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="columns"):
        list(batched([{"a": 1}, {"b": 1}]))


def test_a_batch_ends_with_the_row_that_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "BATCH_CHARACTERS", 10)
    sizes = [len(batch["a"]) for batch in batched([{"a": "x" * 4}] * 7)]
    assert sizes == [3, 3, 1]


@pytest.mark.usefixtures("_written")
def test_the_fingerprint_is_that_of_earlier_versions() -> None:
    """Runs note it: they are resumed, and reported on, only where it is the same."""
    for examples in (dataset_of(batched(ROWS), SCHEMA), in_memory(ROWS[:1]), in_memory(ROWS).select([3, 1, 2])):
        text = json.dumps(examples.to_dict(), sort_keys=True)
        assert examples_fingerprint(examples) == hashlib.sha256(text.encode()).hexdigest()[:20]


def test_a_full_disk_is_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "PART_BYTES", 1)
    monkeypatch.setattr(on_disk, "TemporaryFile", lambda **_: Path("/dev/full").open("wb", buffering=0))  # noqa: SIM115
    with pytest.raises(UserError, match="No space left"):
        dataset_of(batched(ROWS))


@pytest.mark.parametrize("name", TASKS)
def test_examples_of_every_task(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS[name]
    data = section(task, fixture(name))
    before = load_examples(task, data, ["train"])["train"]
    monkeypatch.setattr(on_disk, "PART_BYTES", 1)
    monkeypatch.setattr(on_disk, "BATCH_ROWS", 1)
    after = load_examples(task, data, ["train"])["train"]
    assert after.features == before.features
    assert after.to_dict() == before.to_dict()
    assert examples_fingerprint(after) == examples_fingerprint(before)


def test_memory_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Arrow holds for 40 MB of rows is no more than a part and a batch or two."""
    monkeypatch.setattr(on_disk, "PART_BYTES", 2**20)
    monkeypatch.setattr(on_disk, "BATCH_CHARACTERS", 2**18)
    seen = []

    def rows() -> Any:
        for number in range(4_000):
            seen.append(pa.total_allocated_bytes())
            yield {"id": str(number), "text": "a long page " * 850}

    before = pa.total_allocated_bytes()
    dataset = dataset_of(batched(rows()), Features({"id": Value("string"), "text": Value("string")}))
    assert len(dataset) == 4_000
    assert dataset.data.nbytes > 40_000_000
    assert max(seen) - before < 8 * 2**20
