"""`llmkit eval`: a model on data, or predictions against data, in; scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.console import is_main, say, table
from llmkit.corpus.vocabulary import load_tokenizer
from llmkit.errors import UserError
from llmkit.features import features_of
from llmkit.files import parse_json, read_text
from llmkit.inference import TaskEvaluation
from llmkit.machine import choose, keep_memory, quiet
from llmkit.models import describe, positions_of, trained_model
from llmkit.out_of_memory import OutOfMemory
from llmkit.processes import start_group
from llmkit.recipe import DataSection
from llmkit.rundir import RunDir
from llmkit.tasks import task_named
from llmkit.tasks.base import Candidate, Prediction, Task

BATCH_SIZE = 32


@dataclass(frozen=True)
class Settings:
    """What a run says of how it is to be evaluated."""

    task: Task
    data: DataSection
    threshold: float | None


def settings_of(model: str, task: str | None, data: str | None) -> Settings:
    """The task, data and null threshold for a run or checkpoint: the run's own, where it has any.

    `data` names other data than the run's: a Hub id, folder or file. Raises UserError where the model says
    nothing of a task or data and none is given.
    """
    recipe: dict[str, Any] = {}
    threshold = None
    run = RunDir(Path(model))
    if (run.path / "recipe.yaml").is_file():
        recipe = run.recipe()
        threshold = run.null_threshold()
    name = task or recipe.get("task")
    if name is None:
        raise UserError(f"{model} does not say what task it is for", remedy="name it: --task squad")
    own = recipe.get("data", {})
    if data is None and not own:
        raise UserError(f"{model} does not say what data to evaluate it on", remedy="name it: --data PATH")
    section = DataSection(**window_options(model, own), **data_origin(data)) if data is not None else DataSection(**own)
    return Settings(task_named(name), section, threshold if task in (None, recipe.get("task")) else None)


def window_options(model: str, own: dict[str, Any]) -> dict[str, Any]:
    """How to cut windows: as the run's `own` data section says; for a checkpoint, by default or as long as it can."""
    if own:
        return {key: own[key] for key in ("max_length", "doc_stride", "max_answer_length") if key in own}
    positions = positions_of(model)
    if positions is None or positions >= DataSection.model_fields["max_length"].default:
        return {}
    return {"max_length": positions, "doc_stride": positions // 3}


def data_origin(data: str) -> dict[str, Any]:
    """A file stands for every split; anything else is a folder, a Hub id or `demo`."""
    if Path(data).is_file():
        return {"train": data, "validation": data, "test": data}
    return {"path": data}


def check(model: str, settings: Settings, split: str, output: Path | None) -> None:
    """Load and check everything once, before processes are started. Raises UserError."""
    check_output(output)
    quiet()
    tokenizer = load_tokenizer(model)
    trained_model(model, settings.task.head)
    examples = settings.task.load(settings.data, [split])[split]
    features_of(settings.task, examples, tokenizer, settings.data, training=False)


def evaluate_model(
    model: str, settings: Settings, split: str, output: Path | None, batch_size: int = BATCH_SIZE
) -> dict[str, Any]:
    """Scores of a run or checkpoint. With `output`, also metrics.json and predictions.jsonl in that folder."""
    check_output(output)
    quiet()
    keep_memory()
    tokenizer = load_tokenizer(model)
    loaded = trained_model(model, settings.task.head)
    examples = settings.task.load(settings.data, [split])[split]
    features = features_of(settings.task, examples, tokenizer, settings.data, training=False)
    device = start_group()
    choice = choose("auto")
    say(f"{describe(loaded)} on {len(examples):,} examples, {len(features):,} windows; {choice.why}")
    evaluation = TaskEvaluation(
        settings.task, examples, features, tokenizer, settings.data, batch_size=batch_size, bf16=choice.bf16
    )
    try:
        scores = evaluation(loaded.to(device), settings.threshold)
    except OutOfMemory as error:
        if error.smaller:
            error.remedy = f"give --batch-size {max(1, batch_size // 2)}"
        raise
    if output is not None and is_main():
        _write(output, scores, evaluation.predictions)
    return scores


def evaluate_predictions(file: Path, task: Task, data: str, split: str) -> dict[str, Any]:
    """Scores of a predictions file: ours (JSON lines) or the official one (`{id: text}`)."""
    quiet()
    examples = task.load(DataSection(**data_origin(data)), [split])[split]
    predictions = read_predictions(file)
    known = set(examples["id"])
    strangers = [p.id for p in predictions if p.id not in known]
    if len(strangers) == len(predictions):
        raise UserError(f"{file}: none of its ids is in {data}", remedy="check --data and --split")
    missing = len(known) - (len(predictions) - len(strangers))
    if missing:
        say(f"{missing:,} of {len(known):,} questions have no prediction and score 0")
    return task.score([p for p in predictions if p.id in known], examples)


def read_predictions(file: Path) -> list[Prediction]:
    """Predictions of either format. Raises UserError with the place of what is wrong."""
    text = read_text(file)
    if file.suffix == ".jsonl":
        rows = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        predictions = [_prediction(f"{file}:{number}", parse_json(line, file, number)) for number, line in rows]
    else:
        content = parse_json(text, file)
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise UserError(f"{file}: not an object {{id: text, …}}", remedy="give that, or predictions.jsonl of a run")
        predictions = [Prediction(example_id, answer, 1.0) for example_id, answer in content.items()]
    if not predictions:
        raise UserError(f"{file} holds no prediction", remedy="give {id: text, …}, or predictions.jsonl of a run")
    seen: set[str] = set()
    for prediction in predictions:
        if prediction.id in seen:
            raise UserError(f"{file}: id {prediction.id!r} occurs twice", remedy="give each question one answer")
        seen.add(prediction.id)
    return predictions


def show(scores: dict[str, Any], title: str) -> None:
    """Scores as a table on stdout."""

    def interval(name: str) -> str:
        ends = scores.get(f"{name}_interval")
        return f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""

    rows = [[name, f"{scores[name]:.2f}", interval(name)] for name in ("exact_match", "f1")]
    for part in ("HasAns", "NoAns"):
        if f"{part}_f1" in scores:
            count = f"{scores[f'{part}_total']:,} questions"
            rows.append([f"{part} f1", f"{scores[f'{part}_f1']:.2f}", count])
    table(["score", ">percent", "95 % interval"], rows, title=f"{title}, {scores['total']:,} questions")
    if tuned := scores.get("tuned"):
        on, held = tuned["tuned_on"], tuned["reported_on"]
        table(
            ["null threshold", ">f1", ">exact_match", ">questions"],
            [
                ["as predicted", *_row(scores)],
                [f"{tuned['null_threshold']:.3f}, half it was tuned on", *_row(on)],
                [f"{tuned['null_threshold']:.3f}, the other half", *_row(held)],
            ],
        )


def _row(part: dict[str, Any]) -> list[str]:
    return [f"{part['f1']:.2f}", f"{part['exact_match']:.2f}", f"{part['total']:,}"]


def check_output(output: Path | None) -> None:
    """Raises UserError where an output folder is in use."""
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is in use", remedy="choose another folder with -o")


def _write(output: Path, scores: dict[str, Any], predictions: Sequence[Prediction]) -> None:
    folder = RunDir(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        folder.write_jsonl("predictions.jsonl", (prediction.as_row() for prediction in predictions))
        folder.write_json("metrics.json", scores)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}", remedy="choose another folder with -o") from None


def _prediction(place: str, row: Any) -> Prediction:
    try:
        candidates = tuple(Candidate(**candidate) for candidate in row.pop("candidates", ()))
        prediction = Prediction(**{"score": 1.0, **row}, candidates=candidates)
    except (TypeError, AttributeError) as error:
        raise UserError(f"{place}: not a prediction: {error}", remedy='expected {"id": …, "text": …}') from None
    for name in ("id", "text"):
        if not isinstance(getattr(prediction, name), str):
            raise UserError(f"{place}: {name!r} is not text", remedy='expected {"id": …, "text": …}')
    for name in ("score", "null_score"):
        value = getattr(prediction, name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UserError(f"{place}: {name!r} is not a number", remedy="correct it, or leave it out")
    return prediction
