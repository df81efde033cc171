"""Kinds of task, a folder each: rows, features, head, answers, scores. TASKS has the tasks by name."""

from __future__ import annotations

from typing import Any

from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.base import Task
from llmkit.tasks.label.datasets import LABELS
from llmkit.tasks.similarity.datasets import SIMILARITIES
from llmkit.tasks.span.datasets import SPANS
from llmkit.tasks.tags.datasets import TAGS
from llmkit.tasks.text.datasets import TEXTS

TASKS: dict[str, Task[Any]] = {task.name: task for task in (*SPANS, *LABELS, *TAGS, *TEXTS, *SIMILARITIES)}


def task_named(name: str) -> Task[Any]:
    """Look up a task by name. Raises UserError if there is no such task."""
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}{did_you_mean(name, TASKS)}", remedy=f"tasks are {', '.join(TASKS)}")
    return TASKS[name]
