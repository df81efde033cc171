"""Tasks from a file of the user's: what is wrong with a file is said, and a run remembers the file it was made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import Command

from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.tasks import TASKS
from llmkit.tasks.user_tasks import KEY, check_same_tasks_file, check_tasks_file, tasks_file_facts, use_tasks

pytestmark = pytest.mark.usefixtures("own_tasks")

MOOD = """from llmkit.tasks.label.task import Classification

MOOD = Classification(name="{name}", title="Classification: a mood", recipe="classification-bert-base", names={labels})
TASKS = {{"{key}": MOOD}}
"""


def mood(name: str = "mood", labels: str = '("good", "bad")', *, key: str | None = None) -> str:
    return MOOD.format(name=name, labels=labels, key=key or name)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("none.py", None, "no such file: none.py"),
        ("tasks.yaml", mood(), "tasks.yaml is not a Python file"),
        ("empty.py", "", "empty.py defines no TASKS, a dictionary from each task's name to the task"),
        ("list.py", "TASKS = ['mood']", "list.py defines no TASKS, a dictionary"),
        ("texts.py", "TASKS = {'mood': 'a mood'}", "texts.py defines no TASKS, a dictionary"),
        ("named.py", mood(key="temper"), "named.py defines no TASKS, a dictionary from each task's name"),
        ("taken.py", mood("squad"), "taken.py: the names squad are taken"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    name: str, text: str | None, told: str, llmkit: Command, tmp_path: Path
) -> None:
    before = dict(TASKS)
    if text is not None:
        (tmp_path / name).write_text(text)
    code, out, err = llmkit("tasks", "--tasks", name)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {told}")
    assert before == TASKS


def test_a_file_can_be_corrected(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    for wrong, kind in (("TASKS = {", SyntaxError), ("", UserError), ("1 / 0", ZeroDivisionError)):
        file.write_text(wrong)
        with pytest.raises(kind):
            use_tasks(file)
        file.write_text(mood())
        use_tasks(file)
        assert TASKS["mood"].title == "Classification: a mood"


def test_another_file_takes_the_place_of_the_first(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(mood())
    second.write_text(mood("temper"))
    use_tasks(first)
    use_tasks(first)
    assert tasks_file_facts(TASKS["mood"])[KEY]["file"] == str(first)
    use_tasks(second)
    assert "mood" not in TASKS
    assert tasks_file_facts(TASKS["temper"])[KEY]["file"] == str(second)
    assert tasks_file_facts(TASKS["squad"]) == {}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run that was made with the task `mood` of mine.py, which is no longer in use."""
    file = tmp_path / "mine.py"
    file.write_text(mood())
    use_tasks(file)
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.write_text("recipe.yaml", "{name: mood, task: mood, data: {path: rows.jsonl}}")
    run.write_json("env.json", tasks_file_facts(TASKS["mood"]))
    (tmp_path / "other.py").write_text(mood("temper"))
    use_tasks(tmp_path / "other.py")
    return run


def test_a_run_names_the_file_that_it_needs(run: RunDir, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    file = run.path.with_name("mine.py")
    code, _, err = llmkit("eval", str(run.path))
    assert code == 1
    assert f"{run.path} was made with the task mood of {file} (SHA-256 " in err
    assert f"{run.path.with_name('other.py')} has no such task" in err
    monkeypatch.setattr("llmkit.tasks.user_tasks._loaded", {})
    code, _, err = llmkit("eval", str(run.path))
    assert code == 1
    assert f"{run.path} was made with the task mood of {file} (SHA-256 " in err
    assert f"--tasks {file}" in err.splitlines()[-1]


def test_a_file_that_has_changed_is_said(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    file = run.path.with_name("mine.py")
    use_tasks(file)
    check_tasks_file(run, "mood")
    check_same_tasks_file(run, TASKS["mood"])
    assert "changed" not in capsys.readouterr().err
    file.write_text(mood(labels='("good", "bad", "none")'))
    use_tasks(file)
    check_tasks_file(run, "mood")
    assert f"warning: {file} has changed since {run.path} was made with it" in capsys.readouterr().err
    with pytest.raises(UserError, match="was started with a different version of the file that defines its task mood"):
        check_same_tasks_file(run, TASKS["mood"])


def test_a_run_of_a_shipped_task_needs_no_file(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_json("env.json", json.loads("{}"))
    check_tasks_file(run, "squad")
    check_same_tasks_file(run, TASKS["squad"])
    assert capsys.readouterr().err == ""
