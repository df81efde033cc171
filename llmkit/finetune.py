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

from llmkit.auto_batch import fitted, pieces_of, smaller_next_time
from llmkit.batching import Collator, EpochBatches, Features
from llmkit.console import is_main, say
from llmkit.corpus.vocabulary import load_tokenizer
from llmkit.estimate import estimate
from llmkit.estimate import show as show_estimate
from llmkit.evaluate import show
from llmkit.features import examples_fingerprint, features_of
from llmkit.inference import TaskEvaluation
from llmkit.machine import choose, environment, quiet
from llmkit.models import describe, model_for_task
from llmkit.pace import Pace
from llmkit.recipe import FinetuneRecipe
from llmkit.recipe_reading import dump
from llmkit.report import Report
from llmkit.rundir import RunDir, check_same_data, check_same_recipe, hold, open_run, start
from llmkit.tasks import task_named
from llmkit.tasks.base import Prediction, Task
from llmkit.training import Trainer, save_model
from llmkit.training_arguments import training_arguments

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainingArguments

TRIED_WINDOWS = 96  # of the validation set, in a dry run


@dataclass(frozen=True)
class Prepared:
    """Everything a fine-tuning run needs, checked, before any process group exists."""

    recipe: FinetuneRecipe
    run: RunDir
    resume: bool
    auto_batch: bool
    task: Task
    tokenizer: PreTrainedTokenizerFast
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
    tokenizer = load_tokenizer(str(recipe.model.tokenizer or recipe.model.pretrained))
    model = seeded_model(recipe, task, tokenizer)
    examples = task.load(recipe.data, ["train", "validation"])
    train = features_of(task, examples["train"], tokenizer, recipe.data, training=True)
    validation = features_of(task, examples["validation"], tokenizer, recipe.data, training=False)
    prepared = Prepared(recipe, run, resume, auto_batch, task, tokenizer, model, examples, train, validation)
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
        say(f"{name}: {examples}, {len(features):,} windows of {mean:.0f} tokens on average")


def seeded_model(recipe: FinetuneRecipe, task: Task, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The model to train; its fresh weights follow from the recipe's seed."""
    from transformers import set_seed

    set_seed(recipe.train.seed)
    return model_for_task(recipe.model, task.head, tokenizer, recipe.data.max_length)


def finetune(prepared: Prepared) -> RunDir:
    """Train, keep the best checkpoint, evaluate it, write the run down."""
    run = prepared.run
    with hold(run):
        introduce(prepared)
        if prepared.auto_batch:
            prepared = fitted_to_memory(prepared)
        trainer, best = trainer_for(prepared, run)
        if is_main():
            start(run, dump(prepared.recipe), environment(data_of(prepared)))
        with smaller_next_time(run, prepared.recipe) if prepared.auto_batch else nullcontext():
            noted = pieces_of(prepared.recipe) if prepared.auto_batch else {}
            trainer.go(run, resume=prepared.resume, noted=noted)
        # The best checkpoint's weights are loaded; they were scored before, unless that was before a resume.
        if best.score != trainer.state.best_metric:
            best.assess(prepared.model)
        save_model(trainer, run)
        if is_main():
            run.write_jsonl("predictions.jsonl", (prediction.as_row() for prediction in best.predictions))
            run.write_json("metrics.json", best.scores)
    return run


def fitted_to_memory(prepared: Prepared) -> Prepared:
    """The same run, in pieces that fit into memory."""
    trial = replace(prepared, model=deepcopy(prepared.model))
    longest = np.argsort(-np.asarray(prepared.train["length"]), kind="stable").tolist()
    return replace(prepared, recipe=fitted(prepared.recipe, lambda run: trainer_for(trial, run)[0], longest))


def trainer_for(prepared: Prepared, run: RunDir) -> tuple[Trainer, Best]:
    """The trainer, and what it remembers of its evaluations. With several processes this starts their group."""
    recipe, task, tokenizer = prepared.recipe, prepared.task, prepared.tokenizer
    arguments = training_arguments(recipe.train, run, metric=task.metric, higher_is_better=True)
    best = Best(evaluation_of(prepared, prepared.validation, arguments), task)
    pace = Pace(recipe.train)
    batches = EpochBatches(
        len(prepared.train),
        arguments.per_device_train_batch_size,
        recipe.train.seed,
        lengths=np.asarray(prepared.train["length"]),
        group=arguments.gradient_accumulation_steps * arguments.world_size,
    )
    trainer = Trainer(
        prepared.model,
        arguments,
        data=Features(prepared.train, prepared.examples["train"]["id"]),
        batches=batches,
        collate=Collator(tokenizer.pad_token_id or 0, tokenizer.model_input_names),
        assess=best.assess,
        pace=pace,
        report=Report(run, pace, "finetune", prepared.model, arguments),
        keep=recipe.train.save_total_limit,
        tokenizer=tokenizer,
    )
    return trainer, best


def evaluation_of(prepared: Prepared, features: Dataset, arguments: TrainingArguments) -> TaskEvaluation:
    """The evaluation on validation examples, or on those of them that have `features`."""
    return TaskEvaluation(
        prepared.task,
        prepared.examples["validation"],
        features,
        prepared.tokenizer,
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

        show_estimate(estimate(trainer, prepared.recipe.train, np.asarray(prepared.train["length"]), tried))


def finish_line(run: RunDir) -> None:
    """The run's scores, and what can be done with it."""
    if not is_main():
        return
    show(json.loads((run.path / "metrics.json").read_text(encoding="utf-8")), str(run.path))
    say(f'ask it: llmkit ask {run.path} -q "…" -f FILE      score it elsewhere: llmkit eval {run.path} --data FILE')


def data_of(prepared: Prepared) -> dict[str, str]:
    """Fingerprints of the data that the run is trained and evaluated on."""
    return {name: examples_fingerprint(examples) for name, examples in prepared.examples.items()}


class Best:
    """Remembers scores and predictions of the best evaluation, so that they need not be made twice."""

    def __init__(self, evaluation: TaskEvaluation, task: Task) -> None:
        self._evaluation, self._task = evaluation, task
        self.score: float | None = None
        self.scores: dict[str, Any] = {}
        self.predictions: Sequence[Prediction] = ()

    def assess(self, model: PreTrainedModel) -> dict[str, float]:
        """Score a model; returns the scores worth a line."""
        scores = self._evaluation(model)
        score = float(scores[self._task.metric])
        if self.score is None or score > self.score:
            self.score, self.scores, self.predictions = score, scores, self._evaluation.predictions
        return {name: scores[name] for name in self._task.headline}
