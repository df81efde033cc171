"""Commands that train a model: `demo`, `tokenize`, `pretrain` and `finetune`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from llmkit.system.processes import processes_to_run

if TYPE_CHECKING:
    from llmkit.commands.job import Job
    from llmkit.recipes.finetuning import FinetuneRecipe
    from llmkit.system.run_folder import RunDir
    from llmkit.training.resuming import Recipe as AnyRecipe


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the runs.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Run the whole flow offline on built-in data, in minutes.

    Tokenizes, pretrains, fine-tunes and evaluates a small BERT. Takes a few minutes on two cores.

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
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Tokenizer overrides, such as `tokenizer.vocab_size=8000`."),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "-c",
            "--corpus",
            metavar="SOURCE[,key=value…]",
            help="`wikipedia`, `bookcorpus`, `fineweb-edu`, `c4`, `demo`, a file, folder or glob (.txt, .jsonl, "
            ".parquet), here or by URL, or a Hub id. Keys: `weight`, `documents` (`file`, `blank_line` or `line`, for "
            ".txt), `name`, `split`, `revision`, `text_column`. Repeat -c for more sources.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the token shards.", show_default="a folder in the cache"),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("-n", "--processes", min=1, help="Number of processes.", show_default="one, which uses all cores"),
    ] = None,
) -> None:
    """Tokenize text into shards that `pretrain` reads.

    By default, trains a WordPiece vocabulary of 30,522 tokens. Set `tokenizer.vocab_size=8000` for another size,
    `tokenizer.type=unigram` or `bpe` for another kind, or `tokenizer.path=google-bert/bert-base-uncased` to use an
    existing tokenizer.

    If the command is stopped or killed, run it again to continue. To split the work between machines that share the
    output folder, run the same command on each. The shards do not depend on the number of processes or machines.

    \b
    Example:
      llmkit tokenize -c demo -o data/demo tokenizer.vocab_size=2000
    """
    from llmkit.commands import tokenize as command
    from llmkit.recipes.corpus import TokenizeRecipe
    from llmkit.recipes.reading import recipe_from
    from llmkit.system.advice import Advice
    from llmkit.system.console import result
    from llmkit.system.launch import run_in
    from llmkit.system.machine import quiet

    if not corpus:
        raise UserError("no text source given", remedy="give one with -c, such as -c wikipedia")
    recipe = recipe_from(TokenizeRecipe, {"sources": list(corpus)}, overrides or ())
    quiet()
    prepared = command.prepare(recipe.sources, recipe.tokenizer, output)

    def run() -> None:
        result(str(command.tokenize(prepared)))

    advice = Advice(resume="continue with the same command")
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
    """Pretrain a BERT, or any masked LM further, on token shards or text.

    The default recipe is bert-base: Wikipedia and BookCorpus.

    \b
    Example:
      llmkit pretrain -r tiny/pretrain -o runs/tiny-pretrain
    """
    from llmkit.recipes.pretraining import PretrainRecipe
    from llmkit.recipes.reading import read_recipe

    settings = read_recipe(PretrainRecipe, recipe or "bert-base", overrides or ())
    from llmkit.commands import pretrain as command

    if resume and not dry_run and _print_if_finished(settings, output, processes, command.finish_line):
        return
    job = command.prepare(settings, output, resume=resume, auto_batch=auto_batch, processes=processes_to_run(processes))
    _run(job, command.finish_line, processes, dry_run=dry_run)


def finetune(
    overrides: Overrides = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    recipe: Recipe = None,
    output: Output = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    auto_batch: AutoBatch = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            min=1,
            metavar="N",
            help="Train N runs, in folders within the run folder: with the recipe's `train.seed` and the numbers after "
            "it. Prints a table of their scores.",
        ),
    ] = None,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a checkpoint on a task.

    Give a task, a recipe or both. Each task has a default recipe. A recipe works for all tasks of the same kind: --task
    replaces the recipe's task, and with it the dataset and the name, unless you override these.

    \b
    Examples:
      llmkit finetune -r tiny/squad model.pretrained=runs/tiny-pretrain -o runs/tiny-squad
      llmkit finetune --task glue/sst2 --dry-run
      llmkit finetune --task glue/rte --seeds 5
    """
    from llmkit.commands import finetune as command

    settings = command.recipe_of(task, recipe, overrides or ())
    if seeds is not None:
        return _finetune_seeds(settings, output, seeds, resume, dry_run, auto_batch, processes, as_json)
    finish = command.print_scores if as_json else command.finish_line
    if resume and not dry_run and _print_if_finished(settings, output, processes, finish):
        return
    job = command.prepare(settings, output, resume=resume, auto_batch=auto_batch, processes=processes_to_run(processes))
    _run(job, finish, processes, dry_run=dry_run)


def _finetune_seeds(
    recipe: FinetuneRecipe,
    output: Path | None,
    seeds: int,
    resume: bool,
    dry_run: bool,
    auto_batch: bool,
    processes: int | None,
    as_json: bool,
) -> None:
    from llmkit.commands import seeds as command

    count = processes_to_run(processes)
    series = command.prepare(recipe, output, seeds, resume=resume, auto_batch=auto_batch, processes=count)
    if dry_run:
        return command.dry_run(series)
    train_many(
        partial(command.train, series),
        partial(command.show, folder=series.folder),
        processes,
        as_json=as_json,
        todo=bool(series.todo),
    )


def _print_if_finished(
    recipe: AnyRecipe, output: Path | None, processes: int | None, finish_line: Callable[[RunDir], None]
) -> bool:
    """Print the result of a run that is finished. Returns whether it is."""
    from llmkit.training.resuming import finished_run

    run = finished_run(recipe, output, processes_to_run(processes))
    if run is not None:
        finish_line(run)
    return run is not None


def _run(job: Job, finish_line: Callable[[RunDir], None], processes: int | None, *, dry_run: bool) -> None:
    from llmkit.commands import job as training

    if dry_run:
        return training.dry_run(job)
    train_in(processes, lambda: finish_line(training.train(job)))


def train_many(
    train: Callable[[], Mapping[str, Any]],
    show: Callable[[Mapping[str, Any]], None],
    processes: int | None,
    *,
    as_json: bool,
    todo: bool = True,
) -> None:
    """Call `train`, which trains several runs, in so many processes if any are `todo`, and print what it returns."""
    from llmkit.system.console import is_main, print_json

    def run() -> None:
        found = train()
        if is_main():
            print_json(found) if as_json else show(found)

    train_in(processes, run) if todo else run()


def train_in(processes: int | None, run: Callable[[], None]) -> None:
    """Call `run`, which trains, in so many processes. What it does must go on with --resume."""
    from llmkit.system.advice import Advice
    from llmkit.system.launch import run_in
    from llmkit.system.stop_signals import ON_SIGNAL

    advice = Advice(
        on_signal=ON_SIGNAL,
        resume="continue with the same command and --resume",
        less_memory="halve train.per_device_train_batch_size and double train.gradient_accumulation_steps, which "
        "keeps the batch the same",
        restart=("--resume",),
    )
    run_in(processes, run, advice)
