"""Features are kept, and found again only where the code that makes them is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.tasks import TASKS
from llmkit.tasks.features import _code_fingerprint
from llmkit.tasks.user_tasks import use_tasks

KIND = """from llmkit.tasks.label.task import Classification


class Upper(Classification):
    def encode(self, examples, codec, data, *, training):
        return super().encode(examples.map(lambda row: {"text": row["text"].upper()}), codec, data, training=training)


TASKS = {"upper": Upper("upper", "Classification: in capitals", "classification-bert-base")}
"""


@pytest.mark.parametrize("name", ["natural_questions.py", "windows.py", "examples.py"])
def test_features_are_known_by_all_the_code_of_tasks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["natural_questions"]
    before, read = _code_fingerprint(task), Path.read_bytes
    assert _code_fingerprint(task) == before
    monkeypatch.setattr(Path, "read_bytes", lambda file: read(file) + b"#" * (file.name == name))
    assert _code_fingerprint(task) != before


@pytest.mark.usefixtures("own_tasks")
def test_features_are_known_by_the_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    found = set()
    for change in ("", ".strip()", ""):
        file.write_text(KIND.replace(".upper()", f".upper(){change}"))
        use_tasks(file)
        found.add(_code_fingerprint(TASKS["upper"]))
    assert len(found) == 2
    assert _code_fingerprint(TASKS["classification"]) not in found
