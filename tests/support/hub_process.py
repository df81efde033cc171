"""Commands, and datasets of tasks, against a stand-in Hub.

huggingface_hub reads the Hub's address when it is imported, and a process takes seconds to import it: one process runs
all that a module of tests asks for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What is asked for comes in as JSON, name → arguments; each answer is a line.
_DRIVER = """
import io, json, sys, time, traceback
from contextlib import redirect_stderr, redirect_stdout
import datasets
from transformers import AutoTokenizer
import llmkit.system.hub
from llmkit.cli.main import main
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples

def command(*arguments):
    sys.argv = ["llmkit", *arguments]
    main()

def examples(task, data, splits):
    task = TASKS[task]
    found = load_examples(task, task.data_class(**data), splits)
    print(json.dumps({split: rows.to_list() for split, rows in found.items()}))

llmkit.system.hub.TIMEOUT = 1.0
for name, (what, arguments) in json.load(sys.stdin).items():
    out, err, code, began = io.StringIO(), io.StringIO(), 0, time.monotonic()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            (command if what == "command" else examples)(*arguments)
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            code = -1
            traceback.print_exc()
    print(json.dumps([name, code, out.getvalue(), err.getvalue(), time.monotonic() - began]), flush=True)
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended. `seconds` leaves out the start of the process and of the libraries."""

    code: int
    out: str
    err: str
    seconds: float


def command(*arguments: str) -> tuple[str, Sequence[Any]]:
    """Run a command: `command("tokenize", "-c", "wikipedia")`."""
    return "command", arguments


def examples(task: str, data: Mapping[str, Any], *splits: str) -> tuple[str, Sequence[Any]]:
    """Print the examples of a task by split, as JSON."""
    return "examples", (task, data, splits)


def in_one_process(
    environment: Mapping[str, str], folder: Path, steps: Mapping[str, tuple[str, Sequence[Any]]]
) -> dict[str, Ran]:
    """Take the steps one after another in a folder, and say how each ended."""
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER],
        cwd=folder,
        env={**environment, "LLMKIT_CACHE": str(folder / "cache")},
        input=json.dumps(steps),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: Ran(*answer) for name, *answer in map(json.loads, done.stdout.splitlines())}
