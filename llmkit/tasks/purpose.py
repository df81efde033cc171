"""What a model was fine-tuned for: its task, how it reads its inputs, and when it abstains.

A run records this in its recipe and scores. A model that was copied or published without its run has a file next to
config.json:

    llmkit.json  {"format": 1, "task": "squad_v2", "data": {"max_length": 384, …}, "null_threshold": -1.25}

For several labels it also has "thresholds", by label, in place of the null threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.finetuning import DataSection
from llmkit.recipes.section import Section
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text, to_json, write_whole
from llmkit.system.run_folder import RunDir, Threshold
from llmkit.tasks import TASKS, task_named
from llmkit.tasks.base import Task
from llmkit.tasks.user_tasks import check_tasks_file

FILE = "llmkit.json"
REMEDY = (
    "if the task is from its author's Python file, pass that with --tasks; if a newer llmkit wrote llmkit.json, update "
    "llmkit; otherwise restore the file, or choose a task with --task if the command has that option"
)


@dataclass(frozen=True)
class Purpose:
    """`data` is the recipe's data section; for a model without its run, it does not say where examples come from."""

    task: Task[Any]
    data: dict[str, Any]
    null_threshold: Threshold | None


class _File(Section):
    format: Literal[1]
    task: str
    data: dict[str, Any]
    null_threshold: float | None
    thresholds: dict[str, float] | None = None


def purpose_of(name: str, *, task_given: bool = False) -> Purpose | None:
    """The purpose of a run, a checkpoint or a Hub repository; None if it does not record one.

    Raises UserError if its llmkit.json is invalid. If the user named a task (`task_given`), warns and ignores the file
    instead.
    """
    run = RunDir(Path(name))
    if (run.path / "recipe.yaml").is_file():
        recipe = run.recipe()
        if "task" not in recipe:
            return None
        check_tasks_file(run, recipe["task"])
        return Purpose(task_named(recipe["task"]), recipe.get("data", {}), run.null_threshold())
    file = Checkpoint.named(name).file(FILE)
    if file is None:
        return None
    try:
        return _read(file)
    except UserError as error:
        if not task_given:
            raise
        warn(f"{error}; it is ignored")
        return None


def _read(file: Path) -> Purpose:
    """Read llmkit.json. Do not trust it: validate everything, and reject keys that name files or datasets."""
    try:
        content = _File.model_validate(parse_json(read_text(file), file))
        if content.task not in TASKS:
            raise UserError(f"{file}: unknown task {content.task!r}", remedy=REMEDY)
        task = TASKS[content.task]
        if named := task.data_class.places() & content.data.keys():
            raise UserError(f"{file}: data must not name files or datasets: {', '.join(sorted(named))}", remedy=REMEDY)
        task.data_class.model_validate({**content.data, "path": "elsewhere"})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}", remedy=REMEDY) from None
    return Purpose(task, content.data, content.thresholds or content.null_threshold)


def write_purpose(folder: Path, task: Task[Any], data: DataSection, threshold: Threshold | None) -> None:
    """Write llmkit.json to a model's folder."""
    options = data.model_dump(exclude=set(data.places()), exclude_none=True)
    content = {"format": 1, "task": task.name, "data": options, "null_threshold": None}
    content |= {"thresholds": threshold} if isinstance(threshold, dict) else {"null_threshold": threshold}
    write_whole(folder / FILE, to_json(content))
