"""`llmkit eval`: score a model or a predictions file on a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.models.checkpoint import describe
from llmkit.system import gpu
from llmkit.system.console import is_main, say
from llmkit.system.errors import UserError
from llmkit.system.files import check_output, parse_json, read_text
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import start_group
from llmkit.system.run_folder import RunDir
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import features_of
from llmkit.tasks.inference import BATCH_SIZE, TaskEvaluation
from llmkit.tasks.settings import Settings, data_origin, overridden
from llmkit.tasks.values import Candidate, Codec, Mention, Prediction

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Prepared:
    """A model and the examples to score it on, both checked. There is no process group yet."""

    settings: Settings
    model: PreTrainedModel
    codec: Codec
    examples: Dataset
    features: Dataset
    output: Path | None


def prepare(settings: Settings, split: str, output: Path | None) -> Prepared:
    """Load and check the model and the data. Raises UserError; writes only to the cache."""
    check_output(output)
    quiet()
    task, data = settings.task, settings.data
    model, codec = task.load_trained(settings.checkpoint, data)
    examples = load_examples(task, data, [split])[split]
    task.check_scores(examples, data)
    task.check_labels(settings.checkpoint.name, codec, examples)
    features = features_of(task, examples, codec, data, training=False)
    return Prepared(settings, model, codec, examples, features, output)


def evaluate(prepared: Prepared, batch_size: int = BATCH_SIZE) -> dict[str, Any]:
    """Return the scores on every process. Write metrics.json and predictions.jsonl if there is an output folder."""
    keep_memory()
    gpu.set_up("auto")
    settings, model = prepared.settings, prepared.model
    device = start_group()
    choice = choose("auto")
    say(f"{describe(model)} on {len(prepared.examples):,} examples; {choice.why}")
    evaluation = TaskEvaluation(
        settings.task,
        prepared.examples,
        prepared.features,
        prepared.codec,
        settings.data,
        batch_size=batch_size,
        bf16=choice.bf16,
    )
    try:
        scores = evaluation(model.to(device), settings.threshold)
    except OutOfMemory as error:
        if error.smaller:
            error.remedy = f"use --batch-size {max(1, batch_size // 2)}"
        raise
    if prepared.output is not None and is_main():
        _write(prepared.output, scores, evaluation.predictions)
    return scores


def evaluate_predictions(
    file: Path, task: Task[Any], data: str, split: str, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Score a predictions file: llmkit's (JSON lines) or SQuAD's official format (`{id: text}`)."""
    quiet()
    section = overridden(task.data_class(**data_origin(data, task)), overrides)
    examples = load_examples(task, section, [split])[split]
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


def _write(output: Path, scores: dict[str, Any], predictions: Sequence[Prediction]) -> None:
    folder = RunDir(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        folder.write_jsonl("predictions.jsonl", (prediction.as_row() for prediction in predictions))
        folder.write_json("metrics.json", scores)
    except OSError as error:
        if output.is_dir():
            (output / "predictions.jsonl").unlink(missing_ok=True)  # or the folder would count as in use next time
        raise UserError(
            f"cannot write to {output}: {error.strerror}",
            remedy="free some space or choose another folder with -o, and run the command again",
        ) from None


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
