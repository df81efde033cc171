"""`llmkit eval`: score a model on a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.models.checkpoint import describe
from llmkit.system import gpu
from llmkit.system.console import is_main, say
from llmkit.system.errors import UserError
from llmkit.system.files import check_output
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import start_group
from llmkit.system.run_folder import RunDir
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import features_of
from llmkit.tasks.inference import TaskEvaluation, ready
from llmkit.tasks.settings import Settings
from llmkit.tasks.values import Codec, Prediction

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


def evaluate(prepared: Prepared, batch_size: int | None = None) -> dict[str, Any]:
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
        scores = evaluation(ready(model, device, bf16=choice.bf16), settings.threshold)
    except OutOfMemory as error:
        if error.smaller:
            error.remedy = f"use --batch-size {error.smaller['per_device_eval_batch_size']}"
        raise
    if prepared.output is not None and is_main():
        _write(prepared.output, scores, evaluation.predictions)
    return scores


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
