"""Predictions files: llmkit's own (JSON lines), and SQuAD's official format (`{id: text}`).

Nothing here imports torch or `datasets`, which would take longer than reading a file and scoring it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text
from llmkit.tasks.values import Candidate, Mention, Prediction


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
        candidates = tuple(Candidate(**{"start": None, "end": None, **each}) for each in row.pop("candidates", ()))
        if row.get("entities") is not None:
            row["entities"] = tuple(Mention(**entity) for entity in row["entities"])
        if row.get("tags") is not None:
            row["tags"] = tuple(dict(word) for word in row["tags"])
        prediction = Prediction(**{"score": 1.0, **row}, candidates=candidates)
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{place}: not a prediction: {error}", remedy='expected {"id": …, "text": …}') from None
    for name in ("id", "text"):
        if not isinstance(getattr(prediction, name), str):
            raise UserError(f"{place}: {name!r} is not text", remedy='expected {"id": …, "text": …}')
    for name in ("score", "null_score"):
        value = getattr(prediction, name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UserError(f"{place}: {name!r} is not a number", remedy="correct it or remove it")
    return prediction


def of_examples(
    predictions: Sequence[Prediction], ids: Collection[str], *, file: Path, data: str, items: str
) -> list[Prediction]:
    """The predictions of a file for the examples of `data` with these ids. Says how many examples have none.

    `items` is what to call the examples. Raises UserError if no prediction is for one of them.
    """
    known = set(ids)
    found = [prediction for prediction in predictions if prediction.id in known]
    if not found:
        raise UserError(
            f"{file}: none of its ids is in {data}",
            remedy="give the rows that these are predictions for: --data PATH --split SPLIT",
        )
    if missing := len(known) - len(found):
        say(f"{file}: {missing:,} of {len(known):,} {items} have no prediction and score 0")
    return found
