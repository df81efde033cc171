"""`llmkit export`: export a run or checkpoint to ONNX, and compare the two on validation data."""

from __future__ import annotations

import itertools
import math
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmkit.corpus.tokenizer import DECODER_TOKENIZER
from llmkit.models.checkpoint import describe
from llmkit.models.onnx import Graphs, check_packages, check_size, quantize, size_of
from llmkit.system.cache import built_once
from llmkit.system.console import say, table, warn
from llmkit.system.errors import UserError
from llmkit.system.files import check_output, write_whole
from llmkit.system.machine import keep_memory, quiet
from llmkit.system.progress import Progress
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import features_of
from llmkit.tasks.inference import TaskEvaluation
from llmkit.tasks.purpose import write_purpose
from llmkit.tasks.settings import Settings, settings_of
from llmkit.tasks.values import Array, Codec, Outputs

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

TOLERANCE = 1e-4  # per logit, in float32: several times the rounding error of another order of additions
MAX_LOSS = 1.0  # points of score; warn if int8 loses more
SINGLES = 10  # one in so many windows also runs alone, to measure latency
PAGE = "docs/onnx.md"


@dataclass(frozen=True)
class Subject:
    """A model to export, and the examples to check it on."""

    model: PreTrainedModel
    codec: Codec
    settings: Settings
    split: str
    examples: Dataset
    features: Dataset

    @property
    def graphs(self) -> Graphs:
        """How models for this task are exported."""
        return self.settings.task.graphs()

    def check(self, features: Dataset, batch_size: int | None) -> Check:
        """An evaluation on `features`, in float32."""
        task, data = self.settings.task, self.settings.data
        return Check(task, self.examples, features, self.codec, data, batch_size=batch_size, bf16=False)


@dataclass(frozen=True)
class Measured:
    """Measurements of the model in PyTorch, ONNX or int8: size, speed, scores, and largest difference of a logit.

    `examples_per_second` is measured in batches. `milliseconds` is the latency of a single window.
    """

    name: str
    files: Sequence[str]
    megabytes: float
    examples_per_second: float
    milliseconds: float
    largest_difference: float | None
    scores: dict[str, Any]


@dataclass(frozen=True)
class Report:
    """The exported folder and its measurements. The first of `models` is PyTorch."""

    folder: Path
    subject: Subject
    models: Sequence[Measured]

    def lost(self, measured: Measured) -> dict[str, float]:
        """How many points of each headline score are lost relative to PyTorch."""
        before = self.models[0].scores
        return {name: before[name] - measured.scores[name] for name in self.subject.settings.task.headline}

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.folder),
            "task": self.subject.settings.task.name,
            "split": self.subject.split,
            "examples": len(self.subject.examples),
            "threads": torch.get_num_threads(),
            "tolerance": TOLERANCE,
            "models": [{**asdict(measured), "lost": self.lost(measured)} for measured in self.models],
        }


class Check(TaskEvaluation):
    """An evaluation that keeps the model's outputs and the time that they took."""

    kept: list[Outputs]
    seconds: float

    def outputs(self, model: PreTrainedModel) -> list[Outputs] | None:
        """See TaskEvaluation."""
        began = time.perf_counter()
        outputs = super().outputs(model)
        self.seconds = time.perf_counter() - began
        assert outputs is not None, "export runs in one process"
        self.kept = outputs
        return outputs


def prepare(
    model: str,
    output: Path,
    *,
    task: str | None,
    data: str | None,
    overrides: Sequence[str],
    split: str,
    examples: int | None,
) -> Subject:
    """Load the model and the first `examples` of its data. Raises UserError; writes only to the cache."""
    check_packages()
    check_output(output)
    quiet()
    settings = settings_of(model, task, data, overrides)
    if (why := settings.task.unexported) is not None:
        raise UserError(f"models of {settings.task.name} are not exported: {why}", remedy="use it with PyTorch")
    graphs = settings.task.graphs()
    loaded, codec = settings.task.load_trained(settings.checkpoint, settings.data)
    check_size(loaded)
    every = load_examples(settings.task, settings.data, [split])[split]
    some = every.select(range(min(examples or graphs.examples, len(every))))
    features = features_of(settings.task, some, codec, settings.data, training=graphs.compared is not None)
    part = f"the first {len(some):,} of {len(every):,}" if len(some) < len(every) else f"all {len(every):,}"
    say(f"{describe(loaded)}; checking on {part} {settings.task.item}s of {split}")
    return Subject(loaded, codec, settings, split, some, features)


def export(subject: Subject, output: Path, *, int8: bool) -> Report:
    """Write a folder with the model's ONNX graphs (with `int8` also quantized ones), the tokenizer and config.json.

    Raises UserError and keeps nothing if any logit differs from PyTorch's by more than TOLERANCE.
    """
    keep_memory()
    models: list[Measured] = []

    def build(aside: Path) -> None:
        shutil.rmtree(aside)  # leftovers of an export that was killed
        aside.mkdir()
        try:
            with Progress("exporting") as progress:
                models.extend(_write_and_measure(subject, aside, _phases(progress, 5 if int8 else 3), int8=int8))
        except BaseException:  # hides nothing: a model that failed the check must not stay on disk
            shutil.rmtree(aside)
            raise

    built_once(output, build, is_whole=_in_use)
    return Report(output, subject, models)


def show(report: Report) -> None:
    """Print a table that compares PyTorch, ONNX and int8."""
    task, headline = report.subject.settings.task, report.subject.settings.task.headline
    rows = []
    for measured in report.models:
        difference, lost = measured.largest_difference, report.lost(measured)
        scores = [f"{measured.scores[name]:.2f}" for name in headline]
        if difference is not None:
            # Adding 0 turns -0.0 into 0.0.
            changes = [round(-lost[name], 2) + 0 for name in headline]
            scores = [f"{score} ({change:+.2f})" for score, change in zip(scores, changes, strict=True)]
        rows.append(
            [
                measured.name,
                f"{measured.megabytes:.1f}",
                f"{measured.examples_per_second:.1f}",
                f"{measured.milliseconds:.0f}",
                f"{difference:.1g}" if difference is not None else "",
                *scores,
            ]
        )
    table(
        ["model", ">MB", f">{task.item}s/s", ">ms for one", ">logits differ by", *(f">{name}" for name in headline)],
        rows,
        title=f"{report.folder}, {len(report.subject.examples):,} {task.item}s, {torch.get_num_threads()} CPU threads",
    )
    for measured in report.models:
        if (lost := report.lost(measured))[task.metric] > MAX_LOSS:
            warn(f"{measured.name} loses {lost[task.metric]:.1f} points of {task.metric}")
    say(f"to run it with onnxruntime alone, see {PAGE}")


def largest_difference(expected: Iterable[Outputs], actual: Iterable[Outputs]) -> tuple[float, int, str]:
    """The largest difference between outputs, the number of its feature and its name. NaN counts as infinite.

    Outputs above 100, such as the prices of a regression, are compared relative to their size: float32 has 7 digits.
    """

    def difference(before: Array, after: Array) -> float:
        found = np.abs(before - after) / np.maximum(1, np.abs(before) / 100)
        return float(np.nan_to_num(found, nan=math.inf).max())

    return max(
        (difference(before[name], after[name]), number, name)
        for number, (before, after) in enumerate(zip(expected, actual, strict=True))
        for name in before
    )


def _phases(progress: Progress, total: int) -> Callable[[], None]:
    """A function to call at the beginning of each phase."""
    numbers = itertools.count()

    def begin() -> None:
        done = next(numbers)
        progress({"": f"phase {done + 1} of {total}"}, done / total)

    return begin


def _write_and_measure(subject: Subject, folder: Path, begin: Callable[[], None], *, int8: bool) -> list[Measured]:
    model, codec, graphs = subject.model, subject.codec, subject.graphs
    codec.tokenizer.save_pretrained(folder)
    model.config.save_pretrained(folder)
    settings = subject.settings
    write_purpose(folder, settings.task, settings.data, settings.threshold)
    if model.can_generate() and model.generation_config is not None:
        # save_pretrained refuses settings that only cause a warning when they are loaded.
        write_whole(folder / "generation_config.json", model.generation_config.to_json_string())
    if codec.own_target_tokenizer is not None:
        codec.own_target_tokenizer.save_pretrained(folder / DECODER_TOKENIZER)
    files = [folder / name for name in graphs.files]
    say(f"writing {', '.join(graphs.files)}")
    begin()
    graphs.write(model, codec.tokenizer, folder)
    begin()
    pytorch, expected = _measure(subject, model, "PyTorch", size_of(model))
    begin()
    models = [pytorch, _compare(subject, "ONNX", files, expected, TOLERANCE)]
    if int8:
        begin()
        small = [file.with_name(f"{file.stem}_int8.onnx") for file in files]
        for file, output in zip(files, small, strict=True):
            quantize(file, output)
        begin()
        # Quantized logits differ; their scores tell how much that matters. They must only be finite.
        models.append(_compare(subject, "ONNX, int8", small, expected, math.inf))
    return models


def _compare(subject: Subject, name: str, files: Sequence[Path], expected: Iterable[Outputs], limit: float) -> Measured:
    """Measure ONNX files. Raises UserError if an output differs from the expected one by more than `limit`."""
    model = subject.graphs.run(subject.model, *files)
    actual: Iterable[Outputs]
    measured, actual = _measure(subject, model, name, sum(file.stat().st_size for file in files))
    measured = replace(measured, files=[file.name for file in files])
    if (compared := subject.graphs.compared) is not None:
        expected, actual = (compared(each, subject.features, subject.codec) for each in (subject.model, model))
    difference, feature, output = largest_difference(expected, actual)
    if difference > limit or math.isinf(difference):
        example = subject.examples["id"][subject.features["example"][feature]]
        raise UserError(
            f"{name} differs from PyTorch by {difference:.2g} in {output} of {example}; {limit:g} is allowed",
            remedy="nothing was kept; please report this with the output of llmkit doctor",
        )
    return replace(measured, largest_difference=difference)


def _measure(subject: Subject, model: PreTrainedModel, name: str, size: int) -> tuple[Measured, list[Outputs]]:
    say(f"scoring {name}")
    count = len(subject.features)
    some = np.unique(np.linspace(0, count - 1, -(-count // SINGLES)).astype(int))
    singles = subject.check(subject.features.select(some), 1)
    singles.outputs(model)  # before the batches, because the first pass is slower
    check = subject.check(subject.features, None)
    scores = check(model, subject.settings.threshold)
    rate, milliseconds = len(subject.examples) / check.seconds, 1000 * singles.seconds / len(some)
    return Measured(name, (), size / 1e6, rate, milliseconds, None, scores), check.kept


def _in_use(folder: Path) -> bool:
    """Always False: an export never reuses a folder. Raises UserError if the folder is in use by now."""
    check_output(folder)
    return False
