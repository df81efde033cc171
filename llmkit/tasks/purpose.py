"""What a model was fine-tuned for: its task, how it reads its inputs, and when it abstains.

A run says so by its recipe and its scores. A model that left its run, copied or published, says so by a file beside
its config.json:

    llmkit.json  {"format": 1, "task": "squad_v2", "data": {"max_length": 384, …}, "null_threshold": -1.25}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.finetuning import DataSection
from llmkit.recipes.pretraining import Section
from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text, to_json, write_whole
from llmkit.system.run_folder import RunDir
from llmkit.tasks import TASKS, task_named
from llmkit.tasks.base import Task
from llmkit.tasks.user_tasks import check_tasks_file

FILE = "llmkit.json"
REMEDY = (
    "if the task is from a file of its author's, give that with --tasks; update llmkit if a newer one wrote it; else "
    "restore it, or, where the command takes it, name a --task"
)


@dataclass(frozen=True)
class Purpose:
    """`data` is the recipe's data section; for a model that left its run, without the places of examples."""

    task: Task[Any]
    data: dict[str, Any]
    null_threshold: float | None


class _File(Section):
    format: Literal[1]
    task: str
    data: dict[str, Any]
    null_threshold: float | None


def purpose_of(name: str, *, told: bool = False) -> Purpose | None:
    """What a run, a checkpoint or a repository on the Hub says that it is for; None where it says nothing.

    Raises UserError where the file is damaged. Where the user has `told` the task, a file that is no use is ignored
    with a warning.
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
        if not told:
            raise
        warn(f"{error}; it is ignored")
        return None


def _read(file: Path) -> Purpose:
    """Anyone may have written it: name whatever is wrong, and let nothing in it name a place."""
    try:
        said = _File.model_validate(parse_json(read_text(file), file))
        if said.task not in TASKS:
            raise UserError(f"{file}: unknown task {said.task!r}", remedy=REMEDY)
        task = TASKS[said.task]
        if named := task.data_class.places() & said.data.keys():
            raise UserError(f"{file}: data names places: {', '.join(sorted(named))}", remedy=REMEDY)
        task.data_class.model_validate({**said.data, "path": "elsewhere"})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}", remedy=REMEDY) from None
    return Purpose(task, said.data, said.null_threshold)


def write_purpose(folder: Path, task: Task[Any], data: DataSection, null_threshold: float | None) -> None:
    """Write llmkit.json into a model's folder."""
    reading = data.model_dump(exclude=set(data.places()), exclude_none=True)
    said = _File(format=1, task=task.name, data=reading, null_threshold=null_threshold)
    write_whole(folder / FILE, to_json(said.model_dump()))
