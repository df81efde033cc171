"""Scores of generated texts: BLEU and chrF, ROUGE, or exact match and execution accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.system.errors import UserError
from llmkit.tasks.measures import Measured, mean_of
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.text.sections import TextData


def _texts(predictions: Sequence[Prediction], examples: Dataset) -> tuple[list[str], list[str]]:
    """The generated texts, empty for missing predictions, and the references."""
    return [found.text if found else "" for found in by_id(predictions, examples)], examples["target"][:]


def _means(values: Mapping[str, Sequence[float]], examples: Dataset) -> dict[str, Measured]:
    """The means of scores by text as measures."""
    ids = examples["id"][:]
    return {name: Measured(mean_of(found), ids) for name, found in values.items()}


def translation_measures(
    predictions: Sequence[Prediction], examples: Dataset, data: TextData
) -> tuple[dict[str, Measured], dict[str, str]]:
    """`bleu` and `chrf` in percent, and sacrebleu's signatures; see `bleu_and_chrf`."""
    from llmkit.tasks.text.generation_metrics import bleu_and_chrf

    found, ids = bleu_and_chrf(*_texts(predictions, examples), data.language_of_targets), examples["id"][:]
    signatures = {f"{name}_signature": signature for name, (_, signature) in found.items()}
    return {name: Measured(measure, ids) for name, (measure, _) in found.items()}, signatures


def summary_measures(
    predictions: Sequence[Prediction], examples: Dataset, data: TextData
) -> tuple[dict[str, Measured], dict[str, str]]:
    """`rouge1`, `rouge2`, `rougeL` and `rougeLsum`, F-measures in percent, and `rouge_tokenizer`, what they count."""
    from llmkit.tasks.text.generation_metrics import rouge

    found, tokenizer = rouge(*_texts(predictions, examples), data.target_language)
    return _means(found, examples), {"rouge_tokenizer": tokenizer}


def program_measures(
    predictions: Sequence[Prediction], examples: Dataset, data: TextData
) -> tuple[dict[str, Measured], dict[str, str]]:
    """`exact_match`, which ignores differences in white space; with a database also `execution_accuracy`: queries with
    the same result. Both in percent. Raises UserError if a database is missing or a gold query fails."""
    texts, references = _texts(predictions, examples)
    values = {
        "exact_match": [
            float(text.split() == reference.split()) for text, reference in zip(texts, references, strict=True)
        ]
    }
    if data.database is not None:
        from llmkit.tasks.text.sql import same_result

        values["execution_accuracy"] = [
            float(same_result(text, reference, database_of(data.database, name), example_id))
            for text, reference, name, example_id in zip(
                texts, references, examples["database"][:], examples["id"][:], strict=True
            )
        ]
    return _means(values, examples), {}


def database_of(path: str, name: str) -> Path:
    """The SQLite file of a row: `path` itself, or `path/name/name.sqlite` in Spider's layout. Raises UserError."""
    file = Path(path)
    if file.is_dir():
        file = file / Path(name).name / f"{Path(name).name}.sqlite"
    if not file.is_file():
        raise UserError(f"data.database: no such file: {file}", remedy="check the path, or leave data.database out")
    return file


# By the `measure` of a task: its scores as measures, and what else a reader of them must know.
MEASURES: dict[str, Callable[[Sequence[Prediction], Dataset, TextData], tuple[dict[str, Measured], dict[str, str]]]] = {
    "translation": translation_measures,
    "summary": summary_measures,
    "program": program_measures,
}
