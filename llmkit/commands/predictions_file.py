"""`llmkit eval --predictions`: read a predictions file, and score it without a model.

Nothing here imports torch or `datasets`, which would take longer than the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text
from llmkit.system.machine import quiet
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_columns
from llmkit.tasks.settings import data_origin, overridden
from llmkit.tasks.values import Candidate, Mention, Prediction


def evaluate_predictions(
    file: Path, task: Task[Any], data: str, split: str, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Score a predictions file: llmkit's (JSON lines) or SQuAD's official format (`{id: text}`)."""
    quiet()
    section = overridden(task.data_class(**data_origin(data, task)), overrides)
    examples = load_columns(task, section, split)
    task.check_scores(examples, section)
    predictions = read_predictions(file)
    known = set(examples["id"])
    unknown = [p.id for p in predictions if p.id not in known]
    if len(unknown) == len(predictions):
        raise UserError(
            f"{file}: none of its ids is in {data}",
            remedy="give the rows that these are predictions for: --data PATH --split SPLIT",
        )
    missing = len(known) - (len(predictions) - len(unknown))
    if missing:
        say(f"{missing:,} of {len(known):,} {task.item}s have no prediction and score 0")
    return task.score([p for p in predictions if p.id in known], examples, section)


def read_predictions(file: Path) -> list[Prediction]:
    """Read predictions in either format. Raises UserError with the place of the mistake."""
    text = read_text(file)
    if file.suffix == ".jsonl":
        rows = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        predictions = [_prediction(f"{file}:{number}", parse_json(line, file, number)) for number, line in rows]
    else:
        content = parse_json(text, file)
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise UserError(
                f"{file}: not an object {{id: text, …}}", remedy="give such a file, or the predictions.jsonl of a run"
            )
        predictions = [Prediction(example_id, answer, 1.0) for example_id, answer in content.items()]
    if not predictions:
        raise UserError(
            f"{file} has no predictions", remedy="give a file {id: text, …}, or the predictions.jsonl of a run"
        )
    seen: set[str] = set()
    for prediction in predictions:
        if prediction.id in seen:
            raise UserError(f"{file}: id {prediction.id!r} occurs twice", remedy="give one prediction per id")
        seen.add(prediction.id)
    return predictions


def _prediction(place: str, row: Any) -> Prediction:
    try:
        candidates = tuple(Candidate(**candidate) for candidate in row.pop("candidates", ()))
        if row.get("entities") is not None:
            row["entities"] = tuple(Mention(**entity) for entity in row["entities"])
        prediction = Prediction(**{"score": 1.0, **row}, candidates=candidates)
    except (TypeError, AttributeError) as error:
        raise UserError(f"{place}: not a prediction: {error}", remedy='expected {"id": …, "text": …}') from None
    for name in ("id", "text"):
        if not isinstance(getattr(prediction, name), str):
            raise UserError(f"{place}: {name!r} is not text", remedy='expected {"id": …, "text": …}')
    for name in ("score", "null_score"):
        value = getattr(prediction, name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UserError(f"{place}: {name!r} is not a number", remedy="correct it or remove it")
    return prediction
