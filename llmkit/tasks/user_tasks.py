"""Tasks from the user's own Python file: `--tasks FILE.py`, which defines TASKS, a dictionary like ours.

The file is code, so only the command line can name it, never a recipe or a model's folder. A run made with it records
the file's name and hash in env.json.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.tasks import TASKS
from llmkit.tasks.base import Task

MODULE = "llmkit_user_tasks"
KEY = "tasks_file"  # in env.json
_loaded: dict[str, str] = {}  # `file` and `sha256` of the file in use


def use_tasks(file: Path) -> None:
    """Add a file's tasks to TASKS. Raises UserError if it defines no TASKS, or reuses the name of a built-in task."""
    if not file.is_file():
        raise UserError(f"no such file: {file}", remedy="give a Python file that defines TASKS")
    if file.suffix != ".py":
        raise UserError(f"{file} is not a Python file", remedy="give a file FILE.py that defines TASKS")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if _loaded.get("sha256") == digest:
        return
    for name in _names_of(sys.modules.pop(MODULE, None)):
        del TASKS[name]
    _loaded.clear()
    spec = spec_from_file_location(MODULE, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[MODULE] = module  # where dataclasses and pickles look for it
    try:
        spec.loader.exec_module(module)
        TASKS.update(_tasks_of(module, file))
    except BaseException:  # hides nothing: forget the module, so that a corrected file can be used, and re-raise
        del sys.modules[MODULE]
        raise
    _loaded.update(file=str(file), sha256=digest)


def _tasks_of(module: Any, file: Path) -> Mapping[str, Task[Any]]:
    found: Any = getattr(module, "TASKS", None)
    if not isinstance(found, Mapping) or not all(
        isinstance(task, Task) and name == task.name for name, task in found.items()
    ):
        raise UserError(
            f"{file} defines no TASKS, a dictionary from each task's name to the task",
            remedy='end it with TASKS = {"my_task": MyTask(name="my_task", …)}',
        )
    if taken := found.keys() & TASKS.keys():
        raise UserError(f"{file}: the names {', '.join(sorted(taken))} are taken", remedy="choose other names")
    return found


def tasks_option() -> list[str]:
    """The command-line option that makes another process load the same file."""
    return ["--tasks", _loaded["file"]] if _loaded else []


def check_same_tasks_file(run: RunDir, task: Task[Any]) -> None:
    """Raises UserError if the run to resume was started with a different version of the file."""
    before, now = _facts_of(run), tasks_file_facts(task).get(KEY)
    if (before or {}).get("sha256") != (now or {}).get("sha256"):
        raise UserError(
            f"{run.path} was started with a different version of the file that defines its task {task.name}",
            remedy="restore the file, or start over in another folder with -o",
        )


def _names_of(module: Any) -> list[str]:
    return list(module.TASKS) if module is not None else []


def tasks_file_facts(task: Task[Any]) -> dict[str, dict[str, str]]:
    """What env.json records about the file that defines a run's task; nothing for a built-in task."""
    return {KEY: dict(_loaded)} if task.name in _names_of(sys.modules.get(MODULE)) else {}


def check_tasks_file(run: RunDir, task: str) -> None:
    """Raises UserError if a run's task comes from a user's file that is not loaded. Warns if the file has changed."""
    facts = _facts_of(run)
    if facts is None:
        return
    what = f"{run.path} was made with the task {task} of {facts['file']} (SHA-256 {facts['sha256'][:12]}…)"
    if not _loaded:
        raise UserError(what, remedy=f"give that file again: --tasks {facts['file']}")
    if task not in TASKS:
        raise UserError(f"{what}; {_loaded['file']} has no such task", remedy=f"give --tasks {facts['file']}")
    if _loaded["sha256"] != facts["sha256"]:
        warn(f"{_loaded['file']} has changed since {run.path} was made with it")


def _facts_of(run: RunDir) -> dict[str, str] | None:
    try:
        facts: dict[str, str] | None = json.loads((run.path / "env.json").read_text(encoding="utf-8")).get(KEY)
    except (OSError, ValueError, AttributeError):
        return None  # code that needs env.json reports what is wrong with it
    return facts
