"""`llmkit eval`: a model on data, or predictions against data, in; scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmkit.inference import BATCH_SIZE, TaskEvaluation
from llmkit.models import check_length, describe, positions_of
from llmkit.purpose import purpose_of
from llmkit.recipes.finetuning import DataSection, data_class
from llmkit.recipes.reading import recipe_from
from llmkit.system.console import is_main, say
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import start_group
from llmkit.system.run_folder import RunDir
from llmkit.task_models import check_labels, check_tags, trained
from llmkit.tasks import task_named
from llmkit.tasks.base import Candidate, Prediction, Task
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import features_of


@dataclass(frozen=True)
class Settings:
    """What a run says of how it is to be evaluated."""

    task: Task[Any]
    data: DataSection
    threshold: float | None


def settings_of(model: str, task: str | None, data: str | None, overrides: Sequence[str] = ()) -> Settings:
    """The task, data and null threshold for a run or checkpoint: the run's own, where it has any.

    `data` names other data than the run's: a Hub id, folder or file. `overrides` say how it is read. Raises UserError
    where the model says nothing of a task or data and none is given.
    """
    purpose = purpose_of(model, told=task is not None)
    if task is None and purpose is None:
        raise UserError(f"{model} does not say what task it is for", remedy="name it: --task squad")
    own = purpose.data if purpose else {}
    if data is None and not own.keys() & DataSection.origin():
        raise UserError(f"{model} does not say what data to evaluate it on", remedy="name it: --data PATH")
    meant = task_named(purpose.task) if purpose else None
    chosen = task_named(task) if task else meant
    assert chosen is not None
    if meant is not None and meant.head != chosen.head:
        raise UserError(
            f"{model} was fine-tuned for {meant.name}, whose answers are of another kind than those of {chosen.name}",
            remedy="leave --task out",
        )
    section = data_section(model, chosen, own, data, overrides)
    return Settings(chosen, section, purpose.null_threshold if purpose and chosen is meant else None)


def data_section(
    model: str, task: Task[Any], own: dict[str, Any], data: str | None, overrides: Sequence[str] = ()
) -> DataSection:
    """The run's `own` data section, from other `data` where these are given, with `overrides`.

    For a checkpoint, which has none, the default one, with texts no longer than the model can read and write. Raises
    UserError where a run's own is not valid, and where texts may be longer than that.
    """
    kind = data_class(task.head)
    options = {key: value for key, value in own.items() if data is None or key not in DataSection.origin()}
    positions = dict(zip(("max_length", "max_target_length"), positions_of(model), strict=True))
    limits = {key: most for key, most in positions.items() if key in kind.model_fields and most is not None}
    if not own:
        options |= {key: most for key, most in limits.items() if most < kind.model_fields[key].default}
        if "doc_stride" in kind.model_fields and "max_length" in options:
            options["doc_stride"] = options["max_length"] // 3
    try:
        section = kind(**options, **(data_origin(data, task) if data is not None else {}))
    except ValidationError as error:
        raise UserError(
            f"{model}: what it says of how data is read is not valid: {error.errors()[0]['msg']}", remedy="correct it"
        ) from None
    section = _overridden(section, overrides)
    for key, most in limits.items():
        check_length(getattr(section, key), most, model, key)
    return section


def data_origin(data: str, task: Task[Any]) -> dict[str, Any]:
    """A file stands for every split; anything else is a folder, a Hub id or `demo`."""
    if Path(data).is_file():
        return {"train": data, "validation": data, "test": data}
    own = data == task.hub_id
    return {
        "path": data,
        "name": task.hub_name if own else None,
        "revision": task.hub_revision if own else None,
    }


def _overridden(data: DataSection, overrides: Sequence[str]) -> DataSection:
    for override in overrides:
        if not override.startswith("data."):
            raise UserError(
                f"override {override}: what is evaluated on is all there is to override here",
                remedy="give keys of data, for instance data.label_column=stars",
            )
    keys = [override.removeprefix("data.") for override in overrides]
    return recipe_from(type(data), data.model_dump(exclude_none=True, exclude_unset=True), keys)


def check(model: str, settings: Settings, split: str, output: Path | None) -> None:
    """Load and check everything once, before processes are started. Raises UserError."""
    check_output(output)
    quiet()
    _, codec = trained(model, settings.task, settings.data)
    examples = load_examples(settings.task, settings.data, [split])[split]
    if settings.task.head == "label" and len(codec.labels) > 1:  # one output is a number
        check_labels(model, codec, examples)
    if settings.task.head == "tags":
        check_tags(model, codec, examples)
    features_of(settings.task, examples, codec, settings.data, training=False)


def evaluate_model(
    model: str, settings: Settings, split: str, output: Path | None, batch_size: int = BATCH_SIZE
) -> dict[str, Any]:
    """Scores of a run or checkpoint. With `output`, also metrics.json and predictions.jsonl in that folder."""
    check_output(output)
    quiet()
    keep_memory()
    loaded, codec = trained(model, settings.task, settings.data)
    examples = load_examples(settings.task, settings.data, [split])[split]
    features = features_of(settings.task, examples, codec, settings.data, training=False)
    device = start_group()
    choice = choose("auto")
    say(f"{describe(loaded)} on {len(examples):,} examples; {choice.why}")
    evaluation = TaskEvaluation(
        settings.task, examples, features, codec, settings.data, batch_size=batch_size, bf16=choice.bf16
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


def evaluate_predictions(
    file: Path, task: Task[Any], data: str, split: str, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Scores of a predictions file: ours (JSON lines) or the official one (`{id: text}`)."""
    quiet()
    section = _overridden(data_class(task.head)(**data_origin(data, task)), overrides)
    examples = load_examples(task, section, [split])[split]
    predictions = read_predictions(file)
    known = set(examples["id"])
    strangers = [p.id for p in predictions if p.id not in known]
    if len(strangers) == len(predictions):
        raise UserError(f"{file}: none of its ids is in {data}", remedy="check --data and --split")
    missing = len(known) - (len(predictions) - len(strangers))
    if missing:
        say(f"{missing:,} of {len(known):,} {task.item}s have no prediction and score 0")
    return task.score([p for p in predictions if p.id in known], examples, section)


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
        if output.is_dir():
            (output / "predictions.jsonl").unlink(missing_ok=True)  # so that the same command can be given again
        raise UserError(
            f"cannot write to {output}: {error.strerror}",
            remedy="make room, or choose another folder with -o, and run the command again",
        ) from None


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
