"""`llmkit finetune`: a checkpoint and a task in, a run with a model, scores and predictions out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmkit.commands.job import Job, open_job
from llmkit.commands.teaching import Teaching, check_teaching, teaching_of
from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.console import is_main, print_json, say, warn
from llmkit.system.errors import UserError
from llmkit.system.machine import choose
from llmkit.system.run_folder import RunDir, null_threshold_of
from llmkit.tasks import TASKS, task_named
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import examples_fingerprint, features_of
from llmkit.tasks.inference import TaskEvaluation
from llmkit.tasks.purpose import write_purpose
from llmkit.tasks.score_tables import show
from llmkit.tasks.user_tasks import check_same_tasks_file, tasks_file_facts
from llmkit.tasks.values import Array, Codec
from llmkit.training.batches import Features
from llmkit.training.evaluation import Scored, seconds_of
from llmkit.training.lora import add_adapters, check_lora, merge_adapters
from llmkit.training.resuming import check_same_data

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedModel

TIMED_WINDOWS = 96  # of the validation set, in a dry run


@dataclass(frozen=True)
class Prepared:
    """The task of a run and its data, checked: what is special about fine-tuning."""

    recipe: FinetuneRecipe
    task: Task[Any]
    codec: Codec
    examples: DatasetDict
    train: Dataset
    validation: Dataset
    teaching: Teaching | None


def recipe_of(task: str | None, recipe: str | None, overrides: Sequence[str] = ()) -> FinetuneRecipe:
    """The recipe of a run: a named one, or the task's own, with `overrides`. Raises UserError."""
    if recipe is None and task is None:
        raise UserError("neither a task nor a recipe is given", remedy="name one: --task squad, or -r RECIPE")
    name = recipe or task_named(task or "").recipe
    chosen = [f"task={task_named(task).name}"] if task is not None else []
    return read_recipe(FinetuneRecipe, name, [*chosen, *overrides], tasks=TASKS)


def read_examples(recipe: FinetuneRecipe) -> DatasetDict:
    """The training and validation examples of a recipe. Raises UserError."""
    return load_examples(task_named(recipe.task), recipe.data, ["train", "validation"])


def prepare(
    recipe: FinetuneRecipe,
    output: Path | None,
    *,
    resume: bool = False,
    auto_batch: bool = False,
    processes: int | None = None,
    read: Callable[[FinetuneRecipe], DatasetDict] | None = None,
) -> Job:
    """Load and check the model and the data. Raises UserError; writes only to the cache.

    `processes` will train; by default, those of this launch. `read` stands in for `read_examples`.
    """
    import torch
    from transformers import set_seed

    from llmkit.models.cpu_attention import train_by_products
    from llmkit.models.packed_attention import uses_kernel
    from llmkit.models.unpadded import unpad
    from llmkit.tasks.head import training_collator

    if auto_batch and task_named(recipe.task).contrasts:
        raise UserError(
            f"--auto-batch would change what {recipe.task} learns: texts are compared within their micro-batch",
            remedy="leave it out; a smaller train.per_device_train_batch_size or data.max_length needs less memory",
        )
    run, recipe, resume = open_job(recipe, output, resume=resume, auto_batch=auto_batch, processes=processes)
    if recipe.model.lora is not None:
        check_lora()
    task = task_named(recipe.task)
    check_teaching(recipe, task)
    examples = (read or read_examples)(recipe)
    task.check_scores(examples["validation"], recipe.data)
    checkpoint = Checkpoint.named(recipe.model.pretrained) if recipe.model.pretrained is not None else None
    codec = task.codec_to_train(recipe, checkpoint, examples["train"])
    loss, bf16 = task.loss(recipe, codec, examples["train"]), choose(recipe.train.bf16).bf16
    set_seed(recipe.train.seed)  # the fresh weights of a head follow from it
    model = task.model_to_train(recipe, checkpoint, codec)
    unpad(model, bf16=bf16, training=True)
    train_by_products(model, bf16=bf16)
    if recipe.model.lora is not None:
        assert checkpoint is not None
        add_adapters(model, checkpoint, recipe.model.lora, recipe.train.learning_rate)
    teaching = teaching_of(recipe, task, codec, bf16=bf16, unpadded=uses_kernel(model))
    buckets = torch.cuda.is_available() or recipe.train.torch_compile
    train = features_of(task, examples["train"], codec, recipe.data, training=True)
    validation = features_of(task, examples["validation"], codec, recipe.data, training=False)
    prepared = Prepared(recipe, task, codec, examples, train, validation, teaching)
    fingerprints = {name: examples_fingerprint(split) for name, split in examples.items()}
    fingerprints |= teaching.fingerprints if teaching else {}
    if resume:
        check_same_data(run, fingerprints)
        check_same_tasks_file(run, task)
    return Job(
        command="finetune",
        recipe=recipe,
        run=run,
        resume=resume,
        auto_batch=auto_batch,
        model=model,
        tokenizer=codec.tokenizer,
        target_tokenizer=codec.own_target_tokenizer,
        data=(teaching.data if teaching else Features)(train, examples["train"]["id"]),
        lengths=teaching.lengths(lengths_of(train)) if teaching else lengths_of(train),
        group_by_length=not task.contrasts,
        apart=task.apart(examples["train"]),
        collate=training_collator(
            task.head, codec, model, buckets=buckets, types=teaching is not None and teaching.teacher.reads_types
        ),
        loss=teaching.loss(loss) if teaching else loss,
        evaluation=Validation(prepared),
        fingerprints=fingerprints,
        sizes={name: {"examples": len(split)} for name, split in examples.items()}
        | (teaching.sizes if teaching else {}),
        more_facts=tasks_file_facts(task),
        finalize=lambda trained: finalize(prepared, trained),
        introduce=lambda: introduce(prepared),
        finish=lambda best, state: finish(prepared, run, best),
    )


def finalize(prepared: Prepared, model: PreTrainedModel) -> None:
    """Make a plain model of the best one."""
    if prepared.recipe.model.lora is not None:
        merge_adapters(model)
    prepared.task.finalize(model)


def lengths_of(features: Dataset) -> Array:
    """The number of tokens of each feature, its target included."""
    lengths = np.asarray(features["length"])
    return lengths + np.asarray(features["target_length"]) if "target_length" in features.column_names else lengths


def introduce(prepared: Prepared) -> None:
    """Describe the training and validation data, and the teacher."""
    for line in prepared.teaching.lines() if prepared.teaching else ():
        say(line)
    for name, features in (("train", prepared.train), ("validation", prepared.validation)):
        mean = float(np.mean(features["length"]))
        examples = f"{len(prepared.examples[name]):,} examples"
        inputs = prepared.task.describe_inputs(features)
        say(f"{name}: {examples}, {inputs} of {mean:.0f} tokens on average")
        cut = sum(features["cut"][:]) if "cut" in features.column_names else 0
        if cut:
            most, side = prepared.recipe.data.max_length, prepared.codec.tokenizer.truncation_side
            cut_at = "start" if side == "left" else "end"
            say(
                f"{name}: {cut:,} of them are longer than data.max_length {most}, and cut at their {cut_at} "
                f"(the tokenizer's truncation_side is {side})"
            )
    for is_warning, line in prepared.task.describe_data(prepared.examples, prepared.codec):
        (warn if is_warning else say)(line)


def finish(prepared: Prepared, run: RunDir, best: Scored) -> dict[str, Any]:
    """Write the predictions, and what the model is for; returns the scores."""
    run.write_jsonl("predictions.jsonl", (prediction.as_row() for prediction in best.predictions))
    write_purpose(run.model, prepared.task, prepared.recipe.data, null_threshold_of(best.scores))
    prepared.task.write_files(run.model, prepared.recipe.data)
    return best.scores


def finish_line(run: RunDir) -> None:
    """Print the run's scores and what to do next."""
    if not is_main():
        return
    task = task_named(run.recipe()["task"])
    show(task, json.loads((run.path / "metrics.json").read_text(encoding="utf-8")), str(run.path))
    say(f"{task.next_step(str(run.path))}      score it elsewhere: llmkit eval {run.path} --data FILE")


def print_scores(run: RunDir) -> None:
    """Print the run's scores as JSON."""
    if is_main():
        print_json(json.loads((run.path / "metrics.json").read_text(encoding="utf-8")))


class Validation:
    """The task's scores on the validation examples."""

    higher_is_better: ClassVar[bool] = True

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self.metric, self.headline = prepared.task.metric, prepared.task.headline
        self.max_rows = prepared.task.head.max_rows

    def __call__(self, model: PreTrainedModel, batch_size: int | None, *, bf16: bool) -> Scored:
        """Score a model."""
        evaluation = self._evaluation(self._prepared.validation, batch_size, bf16=bf16)
        return Scored(evaluation(model), evaluation.predictions)

    def seconds(self, model: PreTrainedModel, batch_size: int | None, *, bf16: bool) -> float:
        """Estimate how long a call takes, from the outputs for TIMED_WINDOWS windows."""
        features = self._prepared.validation
        lengths = np.asarray(features["length"])
        some = np.unique(np.linspace(0, len(lengths) - 1, TIMED_WINDOWS).astype(int))
        part = self._evaluation(features.select(some), batch_size, bf16=bf16)
        return seconds_of(lambda: part.outputs(model)) * float(lengths.sum() / lengths[some].sum())

    def _evaluation(self, features: Dataset, batch_size: int | None, *, bf16: bool) -> TaskEvaluation:
        task, codec, data = self._prepared.task, self._prepared.codec, self._prepared.recipe.data
        examples = self._prepared.examples["validation"]
        return TaskEvaluation(task, examples, features, codec, data, batch_size=batch_size, bf16=bf16)
