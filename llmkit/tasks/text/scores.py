"""Scores of written texts: by BLEU and chrF, by ROUGE, or by equality and by what a query gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import cluster_interval
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.text.sections import TextData


def _texts(predictions: Sequence[Prediction], examples: Dataset) -> tuple[list[str], list[str]]:
    """What was written, empty where nothing was, and what it should have been."""
    return [found.text if found else "" for found in by_id(predictions, examples)], examples["target"][:]


def _mean(name: str, values: Sequence[float], examples: Dataset) -> dict[str, Any]:
    """The mean in percent, and its 95 % interval over examples."""
    interval = cluster_interval(values, examples["id"][:])
    return {
        name: 100 * sum(values) / len(values),
        f"{name}_interval": [100 * end for end in interval] if interval else None,
    }


def translation_scores(predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
    """`bleu` and `chrf`."""
    from llmkit.tasks.text.generation_metrics import translation

    return {**translation(*_texts(predictions, examples)), "total": len(examples)}


def summary_scores(predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
    """`rouge1`, `rouge2`, `rougeL` and `rougeLsum`, F-measures in percent."""
    from llmkit.tasks.text.generation_metrics import rouge

    found = rouge(*_texts(predictions, examples))
    means = {key: value for name, values in found.items() for key, value in _mean(name, values, examples).items()}
    return {**means, "total": len(examples)}


def program_scores(predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
    """`exact_match`: texts that are the same, white space aside; with a database `execution_accuracy` too: queries
    that give the same. Raises UserError where a database is missing or a target cannot be run."""
    written, wanted = _texts(predictions, examples)
    same = [float(a.split() == b.split()) for a, b in zip(written, wanted, strict=True)]
    scores = {**_mean("exact_match", same, examples), "total": len(same)}
    if data.database is not None:
        from llmkit.tasks.text.sql import same_result

        results = [
            float(same_result(a, b, database_of(data.database, name), example_id))
            for a, b, name, example_id in zip(written, wanted, examples["database"][:], examples["id"][:], strict=True)
        ]
        scores |= _mean("execution_accuracy", results, examples)
    return scores


def database_of(place: str, name: str) -> Path:
    """The SQLite file of a row: `place` itself, or in Spider's layout `place/name/name.sqlite`. Raises UserError."""
    file = Path(place)
    if file.is_dir():
        file = file / Path(name).name / f"{Path(name).name}.sqlite"
    if not file.is_file():
        raise UserError(f"data.database: no such file: {file}", remedy="check the path, or leave data.database out")
    return file


SCORES: dict[str, Callable[[Sequence[Prediction], Dataset, TextData], dict[str, Any]]] = {
    "translation": translation_scores,
    "summary": summary_scores,
    "program": program_scores,
}
