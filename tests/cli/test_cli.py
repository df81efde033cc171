"""The command line as such: exit codes, help, what it imports, and the small commands."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Command

import llmkit as package
from llmkit.recipes.shipped import shipped_recipes
from llmkit.tasks import TASKS

pytestmark = pytest.mark.oldest
COMMANDS = [
    "demo",
    "tokenize",
    "pretrain",
    "finetune",
    "eval",
    "ask",
    "explain",
    "push",
    "export",
    "tasks",
    "doctor",
    "recipes list",
    "recipes show",
]
COMMANDS += ["recipes copy", "recipes check"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str, llmkit: Command) -> None:
    code, out, _ = llmkit(*command.split(), "--help")
    assert code == 0
    assert f"llmkit {command}" in out.partition("Example")[2]


def test_exit_codes(llmkit: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert llmkit("--version")[:2] == (0, f"{package.__version__}\n")
    assert llmkit("finetune", "--no-such-option")[0] == 2
    assert llmkit("no-such-command")[0] == 2
    assert llmkit("recipes", "show", "none")[0] == 1

    def raising(error: BaseException) -> Callable[[], None]:
        def app() -> None:
            raise error

        return app

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llmkit.commands.demo.run_demo", interrupted)
        code, _, err = llmkit("demo")
    assert (code, "stopped" in err) == (130, True)
    assert "--resume" in err
    for number in (errno.ENOSPC, errno.EACCES, errno.EROFS):
        monkeypatch.setattr("llmkit.cli.main.app", raising(OSError(number, "x", "some/file")))
        code, _, err = llmkit("demo")
        assert code == 1
        assert "some/file: " in err
        assert "Traceback" not in err
    for bug in (ZeroDivisionError(), OSError(errno.EIO, "x")):
        monkeypatch.setattr("llmkit.cli.main.app", raising(bug))
        with pytest.raises(type(bug)):
            llmkit("demo")


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "llmkit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == package.__version__


def test_recipes_commands(llmkit: Command, tmp_path: Path) -> None:
    code, out, _ = llmkit("recipes", "list")
    assert code == 0
    assert all(name in out for name in shipped_recipes())
    _, shown, _ = llmkit("recipes", "show", "bert-mini")
    assert shown.startswith("# BERT-mini")
    code, out, _ = llmkit("recipes", "copy", "bert-mini", "mine.yaml")
    assert code == 0
    assert (tmp_path / "mine.yaml").read_text().rstrip() == shown.rstrip()
    code, out, _ = llmkit("recipes", "check", "mine.yaml", "train.time_budget=1h30m")
    assert code == 0
    assert "time_budget: 5400.0" in out
    assert "max_steps" not in out
    (tmp_path / "again.yaml").write_text(out)
    assert llmkit("recipes", "check", "again.yaml")[1] == out
    code, _, err = llmkit("recipes", "copy", "bert-mini", "none/mine.yaml")
    assert (code, "no such folder" in err) == (1, True)


def test_tasks(llmkit: Command) -> None:
    assert all(name in llmkit("tasks")[1] for name in TASKS)
    assert set(json.loads(llmkit("tasks", "--json")[1])) == set(TASKS)


def test_doctor(llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = llmkit("doctor", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["chosen"]["processes"] >= 1
    assert "fp32" in found["chosen"]["computing"] or "bf16" in found["chosen"]["computing"]
    assert "HF_HUB_OFFLINE" in found["hub"]["state"]
    assert found["cache"]["writable"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, out, _ = llmkit("doctor")
    assert code == 0
    assert "not reachable" in out
    assert "torch" in out


def test_ask_and_eval_by_hand(llmkit: Command, tmp_path: Path) -> None:
    """The official form of predictions, scored without a model."""
    row = {
        "context": "Tom Reed founded Ambury.",
        "question": "Who?",
        "answers": {"text": ["Tom Reed"], "answer_start": [0]},
    }
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({**row, "id": str(n)}) + "\n" for n in range(4)))
    (tmp_path / "p.json").write_text(json.dumps({"0": "Tom Reed", "1": "the Tom reed!", "2": "Reed", "9": "stranger"}))
    data = ["--predictions", "p.json", "--data", "data.jsonl", "--task", "squad"]
    code, out, err = llmkit("eval", *data, "--json")
    assert code == 0, err
    scores = json.loads(out)
    assert (scores["exact_match"], scores["total"]) == (50.0, 4)
    assert scores["f1"] == pytest.approx((100 + 100 + 200 / 3 + 0) / 4)
    assert scores["f1_interval"] is None, "one paragraph says nothing of the spread between paragraphs"
    assert "1 of 4 questions have no prediction" in err
    code, out, _ = llmkit("eval", *data)
    assert "exact_match" in out
    (tmp_path / "p.json").write_text(json.dumps({"9": "stranger"}))
    code, _, err = llmkit("eval", *data)
    assert (code, "none of its ids" in err) == (1, True)
