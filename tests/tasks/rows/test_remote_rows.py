"""Examples by URL are those of the same files here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import examples_fingerprint
from llmkit.tasks.label.sections import LabelData
from llmkit.tasks.rows.splits import names_files
from llmkit.tasks.settings import data_origin

OWN = TASKS["classification"]
ROWS = [{"text": f"ship {number}", "label": "ab"[number % 2]} for number in range(6)]


@pytest.fixture
def bucket() -> Iterator[str]:
    system = fsspec.filesystem("memory")
    for number in range(2):
        lines = "".join(json.dumps(row) + "\n" for row in ROWS[3 * number : 3 * number + 3])
        system.pipe(f"/tasks/train-{number}.jsonl", lines.encode())
    system.pipe("/tasks/readme.md", b"about it")
    yield "memory://tasks"
    system.rm("/tasks", recursive=True)


def fingerprint(train: str | list[str]) -> str:
    return examples_fingerprint(load_examples(OWN, LabelData(train=train), ["train"])["train"])


def test_files_folders_and_patterns(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = tmp_path / "train.jsonl"
    here.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    expected = fingerprint(str(here))
    assert fingerprint([f"{bucket}/train-0.jsonl", f"{bucket}/train-1.jsonl"]) == expected
    assert fingerprint(f"{bucket}/train-*.jsonl") == expected
    assert fingerprint(bucket) == expected
    assert "readme.md" in capsys.readouterr().err


def test_a_url_serves_as_every_split(bucket: str) -> None:
    file = f"{bucket}/train-0.jsonl"
    assert names_files(file)
    assert data_origin(file, OWN) == {"train": file, "validation": file, "test": file}


def test_what_is_not_there(bucket: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        fingerprint(f"{bucket}/nothing.jsonl")
    with pytest.raises(UserError, match="is a URL") as error:
        load_examples(OWN, LabelData(path=bucket), ["train"])
    assert error.value.remedy == f"name the files of each split: data.train={bucket}"
