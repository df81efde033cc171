"""`llmkit eval --predictions`: score a predictions file without a model.

Nothing here imports torch or `datasets`, which would take longer than the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.system.machine import quiet
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_columns
from llmkit.tasks.predictions import of_examples, read_predictions
from llmkit.tasks.settings import data_origin, overridden


def evaluate_predictions(
    file: Path, task: Task[Any], data: str, split: str, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Score a predictions file: llmkit's (JSON lines) or SQuAD's official format (`{id: text}`)."""
    quiet()
    section = overridden(task.data_class(**data_origin(data, task)), overrides)
    examples = load_columns(task, section, split)
    task.check_scores(examples, section)
    predictions = of_examples(read_predictions(file), examples["id"], file=file, data=data, items=f"{task.item}s")
    return task.score(predictions, examples, section)
