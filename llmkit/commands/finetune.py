"""`llmkit finetune`: a checkpoint and a task in, a run with a model, scores and predictions out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.models.checkpoint import describe
from llmkit.models.collator import Collator
from llmkit.models.heads import HEADS, loss_of_tokens
from llmkit.models.inference import TaskEvaluation
from llmkit.models.purpose import write_purpose
from llmkit.models.task_model import codec_to_train, model_to_train
from llmkit.recipes.finetuning import FinetuneRecipe, TextTrainSection
from llmkit.recipes.reading import dump
from llmkit.sharing.model_card import write_card
from llmkit.system.console import is_main, say, warn
from llmkit.system.machine import choose, environment, quiet
from llmkit.system.run_folder import RunDir, hold, null_threshold_of, open_run, start
from llmkit.tasks import task_named
from llmkit.tasks.base import Codec, Prediction, Task
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import examples_fingerprint, features_of
from llmkit.tasks.label.labels import shares, strangers
from llmkit.tasks.score_tables import show
from llmkit.tasks.tags import tags
from llmkit.training.arguments import training_arguments
from llmkit.training.auto_batch import fitted, pieces_of, smaller_next_time
from llmkit.training.batches import EpochBatches, Features
from llmkit.training.estimate import estimate
from llmkit.training.estimate import show as show_estimate
from llmkit.training.reporting import Report
from llmkit.training.resuming import check_same_data, check_same_recipe
from llmkit.training.schedule import Pace
from llmkit.training.trainer import Trainer, save_model

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedModel, TrainingArguments

TRIED_WINDOWS = 96  # of the validation set, in a dry run


@dataclass(frozen=True)
class Prepared:
    """Everything a fine-tuning run needs, checked, before any process group exists."""

    recipe: FinetuneRecipe
    run: RunDir
    resume: bool
    auto_batch: bool
    task: Task[Any]
    codec: Codec
    model: PreTrainedModel
    examples: DatasetDict
    train: Dataset
    validation: Dataset


def prepare(recipe: FinetuneRecipe, output: Path | None, *, resume: bool = False, auto_batch: bool = False) -> Prepared:
    """Load and check the model and the data. Raises UserError; writes nothing but the cache."""
    quiet()
    run = open_run(output or Path("runs") / recipe.name, resume=resume)
    if resume:
        recipe = check_same_recipe(run, recipe)
    task = task_named(recipe.task)
    examples = load_examples(task, recipe.data, ["train", "validation"])
    codec = codec_to_train(recipe, task, examples["train"])
    model = model_to_train(recipe, task, codec)
    train = features_of(task, examples["train"], codec, recipe.data, training=True)
    validation = features_of(task, examples["validation"], codec, recipe.data, training=False)
    prepared = Prepared(recipe, run, resume, auto_batch, task, codec, model, examples, train, validation)
    if resume:
        check_same_data(run, data_of(prepared))
    return prepared


def introduce(prepared: Prepared) -> None:
    """Say what is about to be trained, on what."""
    say(f"computing on {choose(prepared.recipe.train.bf16).why}")
    say(f"model: {describe(prepared.model)}")
    for name, features in (("train", prepared.train), ("validation", prepared.validation)):
        mean = float(np.mean(features["length"]))
        examples = f"{len(prepared.examples[name]):,} examples"
        inputs = f"{len(features):,} windows" if prepared.task.head == "span" else "inputs"
        say(f"{name}: {examples}, {inputs} of {mean:.0f} tokens on average")
        cut = sum(features["cut"][:]) if "cut" in features.column_names else 0
        if cut:
            say(f"{name}: {cut:,} of them are longer than data.max_length {prepared.recipe.data.max_length}, and cut")
    train, validation = prepared.examples["train"], prepared.examples["validation"]
    if prepared.task.head == "label" and len(prepared.codec.labels) > 1:
        say(shares(train))
        if unknown := strangers(validation, train["label"][:], "the training examples never show"):
            warn(f"validation: {unknown}")
    if prepared.task.head == "tags":
        say(tags.shares(train))
        if unknown := tags.strangers(validation, prepared.codec.labels, "the training examples never show"):
            warn(f"validation: {unknown}")


def finetune(prepared: Prepared) -> RunDir:
    """Train, keep the best checkpoint, evaluate it, write the run down."""
    run = prepared.run
    with hold(run):
        introduce(prepared)
        if prepared.auto_batch:
            prepared = fitted_to_memory(prepared)
        trainer, best = trainer_for(prepared, run)
        if is_main():
            start(run, dump(prepared.recipe), environment(data_of(prepared), sizes_of(prepared)))
        with smaller_next_time(run, prepared.recipe) if prepared.auto_batch else nullcontext():
            noted = pieces_of(prepared.recipe) if prepared.auto_batch else {}
            trainer.go(run, resume=prepared.resume, noted=noted)
        # The best checkpoint's weights are loaded; they were scored before, unless that was before a resume.
        # (By step: two may have the same score, and different predictions.)
        if best.step != trainer.state.best_global_step:
            best.score_again(trainer.state.best_global_step, prepared.model)
        save_model(trainer, run, prepared.codec.own_target_tokenizer)
        if is_main():
            run.write_jsonl("predictions.jsonl", (prediction.as_row() for prediction in best.predictions))
            write_purpose(run.model, prepared.task.name, prepared.recipe.data, null_threshold_of(best.scores))
            write_card(run, best.scores)
            run.write_json("metrics.json", best.scores)
    return run


def fitted_to_memory(prepared: Prepared) -> Prepared:
    """The same run, in pieces that fit into memory."""
    trial = replace(prepared, model=deepcopy(prepared.model))
    longest = np.argsort(-np.asarray(prepared.train["length"]), kind="stable").tolist()
    return replace(prepared, recipe=fitted(prepared.recipe, lambda run: trainer_for(trial, run)[0], longest))


def trainer_for(prepared: Prepared, run: RunDir) -> tuple[Trainer, Best]:
    """The trainer, and what it remembers of its evaluations. With several processes this starts their group."""
    recipe, task, codec = prepared.recipe, prepared.task, prepared.codec
    arguments = training_arguments(recipe.train, run, metric=task.metric, higher_is_better=True)
    best = Best(evaluation_of(prepared, prepared.validation, arguments), task)
    pace = Pace(recipe.train)
    batches = EpochBatches(
        len(prepared.train),
        arguments.per_device_train_batch_size,
        recipe.train.seed,
        lengths=lengths_of(prepared.train),
        group=arguments.gradient_accumulation_steps * arguments.world_size,
    )
    trainer = Trainer(
        prepared.model,
        arguments,
        data=Features(prepared.train, prepared.examples["train"]["id"]),
        batches=batches,
        collate=Collator(codec),
        assess=lambda model: best.assess(trainer.state.global_step, model),
        pace=pace,
        report=Report(run, pace, "finetune", prepared.model, arguments),
        keep=recipe.train.save_total_limit,
        tokenizer=codec.tokenizer,
        loss=loss_of_tokens(recipe.train.label_smoothing_factor)
        if isinstance(recipe.train, TextTrainSection)
        else HEADS[task.head].loss,
    )
    return trainer, best


def lengths_of(features: Dataset) -> np.ndarray[Any, np.dtype[Any]]:
    """Tokens of each feature, those of a target too: what goes together, and how long it takes, follows them."""
    lengths = np.asarray(features["length"])
    return lengths + np.asarray(features["target_length"]) if "target_length" in features.column_names else lengths


def evaluation_of(prepared: Prepared, features: Dataset, arguments: TrainingArguments) -> TaskEvaluation:
    """The evaluation on validation examples, or on those of them that have `features`."""
    return TaskEvaluation(
        prepared.task,
        prepared.examples["validation"],
        features,
        prepared.codec,
        prepared.recipe.data,
        batch_size=arguments.per_device_eval_batch_size,
        bf16=arguments.bf16,
    )


def dry_run(prepared: Prepared) -> None:
    """Say what the run would be, and what it would take: a few of its steps are tried."""
    introduce(prepared)
    if prepared.auto_batch:
        prepared = fitted_to_memory(prepared)
    validation = prepared.validation
    lengths = np.asarray(validation["length"])
    some = np.unique(np.linspace(0, len(lengths) - 1, TRIED_WINDOWS).astype(int))
    with TemporaryDirectory() as folder:
        trainer, _ = trainer_for(prepared, RunDir(Path(folder)))
        outputs = evaluation_of(prepared, validation.select(some), trainer.args).outputs

        def tried(model: PreTrainedModel) -> float:
            outputs(model)  # the first time is slower than all others
            began = time.perf_counter()
            outputs(model)
            return (time.perf_counter() - began) * float(lengths.sum() / lengths[some].sum())

        show_estimate(estimate(trainer, prepared.recipe.train, lengths_of(prepared.train), tried))


def finish_line(run: RunDir) -> None:
    """The run's scores, and what can be done with it."""
    if not is_main():
        return
    task = task_named(run.recipe()["task"])
    show(task, json.loads((run.path / "metrics.json").read_text(encoding="utf-8")), str(run.path))
    use = f'ask it: llmkit ask {run.path} -q "…" -f FILE' if task.head == "span" else ""
    use = use or f"use it: llmkit predict {run.path} FILE -o OUTPUT"
    say(f"{use}      score it elsewhere: llmkit eval {run.path} --data FILE")


def data_of(prepared: Prepared) -> dict[str, str]:
    """Fingerprints of the data that the run is trained and evaluated on."""
    return {name: examples_fingerprint(examples) for name, examples in prepared.examples.items()}


def sizes_of(prepared: Prepared) -> dict[str, dict[str, int]]:
    """How much data that is."""
    return {name: {"examples": len(examples)} for name, examples in prepared.examples.items()}


class Best:
    """Remembers scores and predictions of the best evaluation, so that they need not be made twice."""

    def __init__(self, evaluation: TaskEvaluation, task: Task[Any]) -> None:
        self._evaluation, self._task = evaluation, task
        self.step: int | None = None
        self.scores: dict[str, Any] = {}
        self.predictions: Sequence[Prediction] = ()

    def assess(self, step: int, model: PreTrainedModel) -> dict[str, float]:
        """Score a model as it is at a step; returns the scores worth a line."""
        scores = self._evaluation(model)
        if self.step is None or scores[self._task.metric] > self.scores[self._task.metric]:
            self.step, self.scores, self.predictions = step, scores, self._evaluation.predictions
        return {name: scores[name] for name in self._task.headline}

    def score_again(self, step: int | None, model: PreTrainedModel) -> None:
        """Remember a model in place of others: the best, as a run that was resumed knows, which was scored before."""
        self.step, self.scores = step, self._evaluation(model)
        self.predictions = self._evaluation.predictions
