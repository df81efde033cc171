"""Scores of generated texts: BLEU and chrF, ROUGE, or exact match and execution accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import percent_interval
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.text.sections import TextData


def _texts(predictions: Sequence[Prediction], examples: Dataset) -> tuple[list[str], list[str]]:
    """The generated texts, empty for missing predictions, and the references."""
    return [found.text if found else "" for found in by_id(predictions, examples)], examples["target"][:]


def _mean(name: str, values: Sequence[float], examples: Dataset) -> dict[str, Any]:
    """The mean in percent, and its 95 % interval over examples."""
    return {
        name: 100 * sum(values) / len(values),
        f"{name}_interval": percent_interval(values, examples["id"][:]),
    }


def translation_scores(predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
    """`bleu` and `chrf` in percent; see `bleu_and_chrf`."""
    from llmkit.tasks.text.generation_metrics import bleu_and_chrf

    return {**bleu_and_chrf(*_texts(predictions, examples), data.language_of_targets), "total": len(examples)}


def summary_scores(predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
    """`rouge1`, `rouge2`, `rougeL` and `rougeLsum`, F-measures in percent, and `rouge_tokenizer`, what they count."""
    from llmkit.tasks.text.generation_metrics import rouge

    found, tokenizer = rouge(*_texts(predictions, examples), data.target_language)
    means = {key: value for name, values in found.items() for key, value in _mean(name, values, examples).items()}
    return {**means, "rouge_tokenizer": tokenizer, "total": len(examples)}


def program_scores(predictions: Sequence[Prediction], examples: Dataset, data: TextData) -> dict[str, Any]:
    """`exact_match`, which ignores differences in white space; with a database also `execution_accuracy`: queries with
    the same result. Both in percent. Raises UserError if a database is missing or a gold query fails."""
    texts, references = _texts(predictions, examples)
    exact = [float(text.split() == reference.split()) for text, reference in zip(texts, references, strict=True)]
    scores = {**_mean("exact_match", exact, examples), "total": len(exact)}
    if data.database is not None:
        from llmkit.tasks.text.sql import same_result

        results = [
            float(same_result(text, reference, database_of(data.database, name), example_id))
            for text, reference, name, example_id in zip(
                texts, references, examples["database"][:], examples["id"][:], strict=True
            )
        ]
        scores |= _mean("execution_accuracy", results, examples)
    return scores


def database_of(path: str, name: str) -> Path:
    """The SQLite file of a row: `path` itself, or `path/name/name.sqlite` in Spider's layout. Raises UserError."""
    file = Path(path)
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
