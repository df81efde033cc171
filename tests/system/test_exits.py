"""Which of several processes' exit reports is printed, and how."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from llmkit.system import exits
from llmkit.system.advice import Advice
from llmkit.system.errors import UserError
from llmkit.system.exits import ExitReport, exit_for, exit_with, print_cause, read_reports
from llmkit.system.out_of_memory import OutOfMemory

GLOO = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer")
ECHO = ExitReport(0, 2.0, 1, traceback="Traceback: Connection closed by peer\n", echo=True)
USER = ExitReport(1, 1.0, 1, ["no such file: x"], "check the path")
BUG = ExitReport(1, 1.0, 1, traceback="Traceback: KeyError\n")
TRAINING = Advice(resume="continue with the same command and --resume", less_memory="halve the micro-batch")
KILLED = "process 1 of 2 (counting from 0) was killed by SIGKILL"


@pytest.mark.parametrize(
    ("found", "exit_codes", "code", "told", "untold"),
    [
        ([USER, ECHO], {0: 1, 1: 1}, 1, ["process 1 of 2 failed:", "error: no such file: x", "Check"], ["Traceback"]),
        ([ECHO, USER], {0: 1, 1: 1}, 1, ["error: no such file: x"], ["Traceback"]),  # whatever the clocks say
        ([USER, ExitReport(0, 2.0, 1, USER.problems, USER.remedy)], {1: 1}, 1, ["error: no such file: x"], ["failed:"]),
        ([ExitReport(0, 1.0, 1, ["x"], "y"), ECHO], {0: 1}, 1, ["error: x"], ["failed:"]),
        ([BUG, ECHO], {0: 1, 1: 1}, 1, ["process 1 of 2 failed:", "KeyError"], ["closed by peer"]),
        ([ECHO], {0: 1, 1: -9}, 137, [KILLED, "because memory ran out", "--resume"], ["Traceback"]),
        ([], {1: -9, 0: -15}, 137, [KILLED], ["SIGTERM"]),
        ([ECHO], {1: -11, 0: -9}, 139, ["killed by SIGSEGV"], ["memory", "Traceback"]),
        ([ECHO], {0: 1, 1: 1}, 1, ["Connection closed by peer"], ["killed"]),
        ([], {1: 2, 0: -15}, 2, [], ["killed"]),
        ([], {1: -15}, 143, [], ["killed"]),
        (
            [ExitReport(1, 1.0, 1, ["out of memory"], "go on", restart=True), ECHO],
            {},
            1,
            ["warning: out of memory"],
            ["failed:"],
        ),
    ],
)
def test_what_is_told(
    found: list[ExitReport],
    exit_codes: dict[int, int],
    code: int,
    told: list[str],
    untold: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert print_cause(found, exit_codes, 2, TRAINING) == code
    err = capsys.readouterr().err
    assert [text for text in told if text not in err] == []
    assert [text for text in untold if text in err] == []


def test_an_evaluation_has_nothing_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    print_cause([], {1: -signal.SIGKILL}, 2, Advice(less_memory="halve --batch-size"))
    err = capsys.readouterr().err
    assert "Halve --batch-size" in err
    assert "--resume" not in err


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As a process of the launcher, with the rank 1; its last act is an exception here."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv(exits.FOLDER, str(tmp_path))
    return tmp_path


def out_of_memory() -> OutOfMemory:
    error = OutOfMemory("at step 3", MemoryError(), {"per_device_eval_batch_size": 4})
    error.restart = True
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("x", remedy="y"), {"problems": ["x"], "remedy": "y", "echo": False}),
        (PermissionError(13, "Permission denied", "f"), {"problems": ["f: Permission denied"], "echo": False}),
        (KeyError("x"), {"traceback": "KeyError: 'x'\n", "echo": False}),
        (GLOO, {"echo": True}),
        (ValueError("gloo"), {"echo": False}),
        (out_of_memory(), {"problems": ["out of memory at step 3"], "restart": True}),
    ],
)
def test_what_a_process_writes_down(
    error: Exception, expected: dict[str, Any], launched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        exit_for(error)
    (found,) = read_reports(launched)
    assert (found.rank, found.code) == (1, 1)
    assert {name: getattr(found, name) for name in expected} == expected
    assert capsys.readouterr().err == "", "the launcher says it"


def test_torchs_launchers_get_the_error_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    with pytest.raises(SystemExit, match="1"):
        exit_with(1, ["x", "y"], "z")
    assert "error: x" in capsys.readouterr().err
    assert json.loads(file.read_text())["message"] == "x; y"
    with pytest.raises(KeyError):
        exit_for(KeyError("b"))
    assert "KeyError: 'b'" in json.loads(file.read_text())["message"]
