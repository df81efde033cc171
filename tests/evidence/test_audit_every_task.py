"""Contamination of every kind of task: an example that was trained on is found, with its score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from support.tasks import codec_of, fixture, oracle, section

from llmkit.evidence.audit.audited import Audited, Wanted
from llmkit.evidence.audit.contamination import audit
from llmkit.models.checkpoint import Checkpoint
from llmkit.system.files import to_json
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.settings import Settings

pytest.importorskip("datasketch")


def audited(name: str, train: Path) -> Audited:
    """A model that is right, on the three rows of a task's fixture."""
    task = TASKS[name]
    data = section(task, fixture(name)).model_copy(update={"train": str(train)})
    examples = load_examples(task, data, ["validation"])["validation"]

    def predict(some: Any) -> Any:
        codec = codec_of(task, some)
        features, outputs = oracle(task, some, codec, data)
        return task.decode(outputs, features, some, codec, data)

    return Audited(
        Settings(Checkpoint("a-model", "a-model"), task, data, None), "validation", examples, None, False, predict
    )


QUICK = ("squad", "natural_questions", "classification", "multilabel", "regression", "ner", "translation", "scan")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TASKS]
)
def test_the_first_example_is_found_if_it_was_trained_on(name: str, tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    train.write_text(fixture(name).read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    subject = audited(name, train)
    found = audit(subject, Wanted())
    (source,) = found.sources
    first, metric = subject.examples["id"][0], found.metric
    contents = list(subject.task.contents(subject.examples))
    assert [row.found_by for row in source.rows[:: len(source.rows) // 3]] == ["13-gram", "8-gram", "near duplicate"]
    assert source.rows[0].content == " and ".join(contents)
    for row in source.rows:
        assert first in row.touched, (row.found_by, row.content)
        assert row.scores.all[metric].value == pytest.approx(100)
    whole = source.rows[0]
    assert whole.touched == ([first] if name != "glue/qqp" else ["0", "1"])  # its second pair has no second text
    assert whole.scores.clean[metric].value == pytest.approx(100)
    assert json.loads(to_json(found.as_row()))["sources"][0]["rows"][0]["touched"] == whole.touched
    (table,) = found.tables()
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert found.notes()[-1] == "What a-model saw before is not known."
    assert cast("str", next(iter(found.shown()))).startswith("\nMost shared words, in the train split of the data: 1 ")
