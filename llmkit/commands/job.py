"""The story of a training run, the same for `pretrain` and `finetune`: hold the folder, train, score, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from llmkit.models.checkpoint import describe
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import dump
from llmkit.sharing.model_card import write_card
from llmkit.system import gpu
from llmkit.system.console import is_main, say
from llmkit.system.machine import choose, environment, quiet
from llmkit.system.processes import from_first, world_size
from llmkit.system.run_folder import RunDir, hold, open_run, start
from llmkit.system.secrets import without_secrets
from llmkit.training.arguments import check_checkpointing, training_arguments
from llmkit.training.auto_batch import batch_sizes, fit_to_memory, shrink_on_out_of_memory
from llmkit.training.batches import EpochBatches, Features, MaskedBlocks
from llmkit.training.estimate import estimate, show
from llmkit.training.evaluation import Evaluation, Scored
from llmkit.training.layerwise import rates_by_layer
from llmkit.training.lengthening import go_back, longer
from llmkit.training.reporting import TrainingLog
from llmkit.training.resuming import Recipe, check_same_recipe, run_folder, same_batch
from llmkit.training.saving import save_model
from llmkit.training.schedule import Schedule
from llmkit.training.sharding import check_same_sharding, check_sharding
from llmkit.training.stopping import stopped_at
from llmkit.training.trackers.mirror import Mirror, check_installed
from llmkit.training.trackers.tracker import Tracked, flat
from llmkit.training.trainer import Trainer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast
    from transformers.trainer_callback import TrainerState

    from llmkit.models.collator import Batch


@dataclass(frozen=True)
class Job:
    """A training run, checked and ready to start. No process group exists yet.

    With `resume` the run has started before, and `recipe` is for the number of processes that it was started with.
    `lengths[i]` is the number of tokens of item i of `data`, targets included. `apart` are keys [items, k]: items
    that share one must not be in one batch. `fingerprints` identify the data; a resumed run must find the same ones.
    `sizes` say how much data there is, for env.json, and `more_facts` are further entries of it. `introduce` describes
    the data on the screen. With `evaluate_first` the model is also evaluated before the first step. `hopeless` says,
    when the scores of an evaluation are logged, whether to end the run early. `finalize` may change the best model
    before it is saved. `finish` runs on the first process, once the model is saved: it writes the files that only this
    kind of run has, and returns the content of metrics.json. `series` is the folder of the runs that this is one of.
    """

    command: str
    recipe: PretrainRecipe | FinetuneRecipe
    run: RunDir
    resume: bool
    auto_batch: bool
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    data: MaskedBlocks | Features
    lengths: np.ndarray[Any, np.dtype[Any]]
    collate: Callable[[Any], Batch]
    evaluation: Evaluation
    fingerprints: Mapping[str, Any]
    sizes: Mapping[str, Mapping[str, int]]
    introduce: Callable[[], None]
    finish: Callable[[Scored, TrainerState], dict[str, Any]]
    finalize: Callable[[PreTrainedModel], None] = lambda model: None
    more_facts: Mapping[str, Any] = field(default_factory=dict)
    group_by_length: bool = False
    apart: np.ndarray[Any, np.dtype[Any]] | None = None
    evaluate_first: bool = False
    loss: Callable[..., Tensor] | None = None
    hopeless: Callable[[], bool] | None = None
    series: Path | None = None
    target_tokenizer: PreTrainedTokenizerFast | None = None


def open_job(
    recipe: Recipe, output: Path | None, *, resume: bool, auto_batch: bool, processes: int | None
) -> tuple[RunDir, Recipe, bool]:
    """The run's folder, the recipe as the run records it, and whether there is a run to resume.

    `processes` will train; by default, those of this launch. Raises UserError; writes nothing.
    """
    quiet()
    check_installed(recipe.train.report_to)
    check_sharding(recipe.train, auto_batch=auto_batch)
    gpu.set_up(recipe.train.bf16, deterministic=recipe.train.deterministic)
    folder = run_folder(recipe, output)
    run = open_run(folder, resume=resume, longer=resume and RunDir(folder).started and longer(RunDir(folder), recipe))
    if not run.started:
        return run, recipe, False
    return run, check_same_recipe(run, recipe, processes or world_size()), True


def train(job: Job) -> RunDir:
    """Train, keep the best checkpoint, and write its model, scores and card."""
    run = job.run
    check_same_sharding(run)
    with hold(run):
        _introduce(job)
        started = run.environment()["processes"] if job.resume else world_size()
        recorded, job = job.recipe, _share_batch(job, started)
        if job.auto_batch:
            found = _fit_to_memory(job)
            if found.recipe != job.recipe:
                train = same_batch(found.recipe.train, world_size(), started)
                recorded, job = found.recipe.model_copy(update={"train": train}), found
        mirror = Mirror(job.recipe.train.report_to, _tracked(job))
        trainer = _trainer(job, run, mirror)
        if is_main():
            if job.resume:
                go_back(run, job.recipe)
            facts = {**environment(job.fingerprints, job.sizes), **job.more_facts}
            start(run, dump(recorded), {**facts, "processes": started})
        from_first(True if is_main() else None)  # the others look for checkpoints when it has gone back
        with mirror:
            with shrink_on_out_of_memory(run, job.recipe, started) if job.auto_batch else nullcontext():
                trainer.fit(
                    run,
                    resume=job.resume,
                    sizes=batch_sizes(job.recipe),
                    chosen=job.auto_batch,
                    evaluate_first=job.evaluate_first,
                )
            best = trainer.best()
            job.finalize(trainer.network)
            save_model(trainer, run, job.target_tokenizer)
            if is_main():
                metrics = job.finish(best, trainer.state)
                if (stopped := stopped_at(trainer.state)) is not None:
                    metrics = {**metrics, "stopped_early_at": stopped}
                write_card(run, metrics)
                run.write_json("metrics.json", metrics)
                mirror.scores(metrics)
    return run


def _tracked(job: Job) -> Tracked:
    """What trackers are told of a run: its name, and its recipe in one level."""
    name, series = job.recipe.name, None
    if job.series is not None:
        series = job.series.resolve().name
        name = f"{series}/{job.run.path.relative_to(job.series).as_posix()}"
    config = flat(json.loads(without_secrets(json.dumps(yaml.safe_load(dump(job.recipe))))))
    return Tracked(job.run, name, series, config, job.model)


def dry_run(job: Job, runs: int = 1) -> None:
    """Describe the run and estimate what it will take, by trying a few of its steps. Writes nothing.

    There will be so many `runs` like it, one after another.
    """
    _introduce(job)
    if job.auto_batch:
        job = _fit_to_memory(job)
    with TemporaryDirectory() as folder:
        trainer = _trainer(job, RunDir(Path(folder)))
        show(estimate(trainer, job.recipe.train, job.lengths, evaluate_first=job.evaluate_first), runs)


def _introduce(job: Job) -> None:
    check_checkpointing(job.recipe.train, job.model)
    say(f"computing on {choose(job.recipe.train.bf16).why}")
    say(f"model: {describe(job.model)}")
    if rates := rates_by_layer(job.recipe.train, job.model):
        say(rates)
    job.introduce()


def _share_batch(job: Job, started: int) -> Job:
    """The same job, with the batch that the run was started with, on this number of processes."""
    now = world_size()
    if now == started:
        return job
    train = same_batch(job.recipe.train, started, now)
    size, accumulated = train.per_device_train_batch_size, train.gradient_accumulation_steps
    processes = f"{now} process{'es' if now > 1 else ''}"
    say(
        f"on {processes} in place of {started}, the batch of {size * accumulated * now} examples stays the same: "
        f"{size} × {accumulated} accumulated × {processes}"
    )
    return replace(job, recipe=job.recipe.model_copy(update={"train": train}))


def _fit_to_memory(job: Job) -> Job:
    """The same job, with micro-batches that fit in memory."""
    trial = replace(job, model=deepcopy(job.model))
    longest = np.argsort(-job.lengths, kind="stable").tolist()
    return replace(job, recipe=fit_to_memory(job.recipe, lambda run: _trainer(trial, run), longest))


def _trainer(job: Job, run: RunDir, mirror: Mirror | None = None) -> Trainer:
    """The trainer of a job, whose log `mirror` follows. With several processes this starts their group."""
    train, evaluation = job.recipe.train, job.evaluation
    arguments = training_arguments(train, run, metric=evaluation.metric, higher_is_better=evaluation.higher_is_better)
    schedule = Schedule(train)
    batches = EpochBatches(
        len(job.data),
        arguments.per_device_train_batch_size,
        train.seed,
        lengths=job.lengths if job.group_by_length else None,
        apart=job.apart,
        accumulation=arguments.gradient_accumulation_steps,
        processes=arguments.world_size,
        share=schedule.share_at,
    )
    return Trainer(
        job.model,
        arguments,
        data=job.data,
        batches=batches,
        collate=job.collate,
        evaluation=evaluation,
        train=train,
        schedule=schedule,
        log=TrainingLog(run, schedule, job.command, job.model, arguments, mirror),
        tokenizer=job.tokenizer,
        loss=job.loss,
        hopeless=job.hopeless,
    )
