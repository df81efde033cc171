"""Kinds of task, a folder each: rows, features, head, answers, scores. TASKS has the tasks by name."""

from __future__ import annotations

from typing import Any

from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.base import Task
from llmkit.tasks.label.data_sets import LABELS
from llmkit.tasks.span.data_sets import SPANS
from llmkit.tasks.tags.data_sets import TAGS
from llmkit.tasks.text.data_sets import TEXTS

TASKS: dict[str, Task[Any]] = {task.name: task for task in (*SPANS, *LABELS, *TAGS, *TEXTS)}


def task_named(name: str) -> Task[Any]:
    """A task by its name. Raises UserError where there is none."""
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}{did_you_mean(name, TASKS)}", remedy=f"tasks are {', '.join(TASKS)}")
    return TASKS[name]
