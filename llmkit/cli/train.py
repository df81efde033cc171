"""The commands that make a model: from text to a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.cli.options import (
    AsJson,
    AutoBatch,
    DryRun,
    Output,
    Overrides,
    Processes,
    Recipe,
    Resume,
    TaskName,
    TasksFile,
)
from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from llmkit.commands.job import Job
    from llmkit.system.run_folder import RunDir


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the runs.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """The whole flow on embedded data: offline, minutes on two cores.

    \b
    Example:
      llmkit demo
    """
    from llmkit.commands.demo import run_demo, show
    from llmkit.system.console import print_json

    report = run_demo(output)
    if as_json:
        print_json(report)
    else:
        show(report, output)


def tokenize(
    overrides: Overrides = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "-c",
            "--corpus",
            metavar="SOURCE[,key=value…]",
            help="`wikipedia`, `bookcorpus`, `demo`, a file, folder or glob (.txt, .jsonl, .parquet), or a Hub id. "
            "Keys: `weight`, `documents` (`file` or `blank_line`, for .txt), `name`, `split`, `revision`, "
            "`text_column`. Give it once a source.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the token shards.", show_default="in the cache"),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "-n", "--processes", min=1, help="Processes that share the work.", show_default="one, on all cores"
        ),
    ] = None,
) -> None:
    """Text → token shards, which `pretrain` reads.

    Trains a WordPiece vocabulary of 30,522 unless told otherwise: `tokenizer.vocab_size=8000` for another size,
    `tokenizer.path=google-bert/bert-base-uncased` to use one that exists.

    Stopped or killed, the same command goes on. Given on several machines that share the folder, they share the
    work; however many processes there are, the shards are the same.

    \b
    Example:
      llmkit tokenize -c demo -o data/demo tokenizer.vocab_size=2000
    """
    from llmkit.commands import tokenize as story
    from llmkit.recipes.pretraining import TokenizeRecipe
    from llmkit.recipes.reading import recipe_from
    from llmkit.system.advice import Advice
    from llmkit.system.console import result
    from llmkit.system.launch import run_in
    from llmkit.system.machine import quiet

    if not corpus:
        raise UserError("no source of text is given", remedy="name one with -c, for instance -c wikipedia")
    recipe = recipe_from(TokenizeRecipe, {"sources": list(corpus)}, overrides or ())
    quiet()
    prepared = story.prepare(recipe.sources, recipe.tokenizer, output)

    def run() -> None:
        result(str(story.tokenize(prepared)))

    advice = Advice(resume="go on with the same command")
    run() if prepared.is_made else run_in(processes, run, advice, one_per_gpu=False)


def pretrain(
    overrides: Overrides = None,
    recipe: Recipe = None,
    output: Output = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    auto_batch: AutoBatch = False,
    processes: Processes = None,
) -> None:
    """Token shards (or text) → a pretrained BERT. Without -r: bert-base on Wikipedia and BookCorpus.

    \b
    Example:
      llmkit pretrain -r tiny/pretrain -o runs/tiny-pretrain
    """
    from llmkit.recipes.pretraining import PretrainRecipe
    from llmkit.recipes.reading import read_recipe

    settings = read_recipe(PretrainRecipe, recipe or "bert-base", overrides or ())
    from llmkit.commands import pretrain as story

    job = story.prepare(settings, output, resume=resume, auto_batch=auto_batch)
    _run(job, story.finish_line, processes, dry_run=dry_run)


def finetune(
    overrides: Overrides = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    recipe: Recipe = None,
    output: Output = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    auto_batch: AutoBatch = False,
    processes: Processes = None,
) -> None:
    """A checkpoint + a task → a model that does it. Without -r: the task's own recipe.

    A recipe serves all tasks of its kind: --task takes the place of the recipe's task, and with it of its data and
    name, as far as overrides do not give these.

    \b
    Examples:
      llmkit finetune -r tiny/squad model.pretrained=runs/tiny-pretrain -o runs/tiny-squad
      llmkit finetune --task glue/sst2 --dry-run
    """
    from llmkit.commands import finetune as story

    settings = story.recipe_of(task, recipe, overrides or ())
    job = story.prepare(settings, output, resume=resume, auto_batch=auto_batch)
    _run(job, story.finish_line, processes, dry_run=dry_run)


def _run(job: Job, finish_line: Callable[[RunDir], None], processes: int | None, *, dry_run: bool) -> None:
    from llmkit.commands import job as story
    from llmkit.system.advice import Advice
    from llmkit.system.launch import run_in
    from llmkit.training.signals import ON_SIGNAL

    if dry_run:
        return story.dry_run(job)
    advice = Advice(
        on_signal=ON_SIGNAL,
        resume="go on with the same command and --resume",
        less_memory="halve train.per_device_train_batch_size and double train.gradient_accumulation_steps, which "
        "keeps the batch",
        restart=("--resume",),
    )
    run_in(processes, lambda: finish_line(story.train(job)), advice)
