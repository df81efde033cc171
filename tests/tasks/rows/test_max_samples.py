"""`data.max_samples`: only the first examples of each split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.tasks import fixture

from llmkit.commands.finetune import recipe_of
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.settings import data_origin, overridden


def test_of_each_part(tmp_path: Path) -> None:
    for part in ("train", "validation_matched", "validation_mismatched"):
        (tmp_path / f"{part}.jsonl").write_bytes(fixture("glue/mnli").read_bytes())
    task = TASKS["glue/mnli"]
    for most, parts in ((2, ["validation_matched"] * 2 + ["validation_mismatched"] * 2), (None, None)):
        data = task.data_class(path=str(tmp_path), max_samples=most)
        found = load_examples(task, data, ["train", "validation"])
        assert (len(found["train"]), len(found["validation"])) == ((2, 4) if most else (3, 6))
        assert parts is None or found["validation"]["part"][:] == parts


def test_of_nested_rows(tmp_path: Path) -> None:
    """Questions are counted, not the articles that hold them."""
    questions = [{"id": f"{n}", "question": "Who?", "answers": [{"text": "Tom", "answer_start": 0}]} for n in range(3)]
    article = {"paragraphs": [{"context": "Tom sails.", "qas": questions}]}
    file = tmp_path / "train.json"
    file.write_text(json.dumps({"data": [article, {"paragraphs": "broken, but never read"}]}))
    task = TASKS["squad"]
    data = task.data_class(path=str(file), max_samples=2)
    assert load_examples(task, data, ["train"])["train"]["id"][:] == ["0", "1"]
    with pytest.raises(UserError, match="paragraphs"):
        load_examples(task, overridden(data, ["data.max_samples=4"]), ["train"])


def test_other_data_are_read_in_full() -> None:
    recipe = recipe_of("glue/cola", None, ["data.max_samples=5"])
    assert "max_samples" in type(recipe.data).origin(), "what says which examples there are is of these data"
    assert "max_samples" not in data_origin("other", TASKS["glue/cola"])
    with pytest.raises(UserError, match="greater than 0"):
        recipe_of("glue/cola", None, ["data.max_samples=0"])
