"""The commands: flags in, one call out. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli_ask import ask
from llmkit.cli_checks import doctor, tasks, verify
from llmkit.cli_options import AsJson, DryRun, Model, Output, Overrides, Processes, Recipe, Resume, TaskName
from llmkit.cli_recipes import recipes_app
from llmkit.errors import Stopped, UserError

app = typer.Typer(
    name="llmkit",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is three times faster: rich and its Markdown are not imported
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From raw text to a working BERT-class model: tokenize, pretrain, fine-tune, evaluate, predict, ask.\n\n"
    "Start with `llmkit demo`: the whole flow on embedded data, offline, in minutes.",
)
app.add_typer(recipes_app, name="recipes")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the runs.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """The whole flow on embedded data: offline, minutes on two cores.

    \b
    Example:
      llmkit demo
    """
    from llmkit.console import print_json
    from llmkit.demo.command import run_demo, show

    report = run_demo(output)
    if as_json:
        print_json(report)
    else:
        show(report, output)


@app.command()
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
) -> None:
    """Text → token shards, which `pretrain` reads.

    Trains a WordPiece vocabulary of 30,522 unless told otherwise: `tokenizer.vocab_size=8000` for another size,
    `tokenizer.path=google-bert/bert-base-uncased` to use one that exists.

    \b
    Example:
      llmkit tokenize -c demo -o data/demo tokenizer.vocab_size=2000
    """
    from llmkit.console import result
    from llmkit.machine import quiet
    from llmkit.recipe import TokenizeRecipe
    from llmkit.recipe_reading import recipe_from
    from llmkit.tokenize import tokenize as run

    if not corpus:
        raise UserError("no source of text is given", remedy="name one with -c, for instance -c wikipedia")
    recipe = recipe_from(TokenizeRecipe, {"sources": list(corpus)}, overrides or ())
    quiet()
    result(str(run(recipe.sources, recipe.tokenizer, output)))


@app.command()
def pretrain(
    overrides: Overrides = None,
    recipe: Recipe = None,
    output: Output = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    processes: Processes = None,
) -> None:
    """Token shards (or text) → a pretrained BERT. Without -r: bert-base on Wikipedia and BookCorpus.

    \b
    Example:
      llmkit pretrain -r tiny/pretrain -o runs/tiny-pretrain
    """
    from llmkit.recipe import PretrainRecipe
    from llmkit.recipe_reading import read_recipe

    settings = read_recipe(PretrainRecipe, recipe or "bert-base", overrides or ())
    from llmkit import pretrain as story

    prepared = story.prepare(settings, output, resume=resume)
    if dry_run:
        return story.dry_run(prepared)
    _go(processes, lambda: story.finish_line(story.pretrain(prepared)))


@app.command()
def finetune(
    overrides: Overrides = None,
    task: TaskName = None,
    recipe: Recipe = None,
    output: Output = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    processes: Processes = None,
) -> None:
    """A checkpoint + a task → a model that does it. Without -r: the task's own recipe.

    \b
    Example:
      llmkit finetune -r tiny/squad model.pretrained=runs/tiny-pretrain -o runs/tiny-squad
    """
    from llmkit.finetune_recipe import FinetuneRecipe
    from llmkit.recipe_reading import read_recipe
    from llmkit.tasks import TASKS, task_named

    if recipe is None and task is None:
        raise UserError("neither a task nor a recipe is given", remedy="name one: --task squad, or -r RECIPE")
    settings = read_recipe(FinetuneRecipe, recipe or task_named(task or "").recipe, overrides or (), tasks=TASKS)
    if task is not None and settings.task != task_named(task).name:
        raise UserError(f"--task {task}, but the recipe is for {settings.task}", remedy="leave --task out")
    from llmkit import finetune as story

    prepared = story.prepare(settings, output, resume=resume)
    if dry_run:
        return story.dry_run(prepared)
    _go(processes, lambda: story.finish_line(story.finetune(prepared)))


@app.command(name="eval")
def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="RUN_OR_MODEL", help="A run, a checkpoint folder or a Hub id.")
    ] = None,
    task: TaskName = None,
    data: Annotated[
        str | None, typer.Option("--data", help="A file, a folder or a Hub id.", show_default="the run's own")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which split of the data.")] = "validation",
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Score this file in place of a model: `{id: text}`, or predictions.jsonl."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for metrics.json and predictions.jsonl.")
    ] = None,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """A run, checkpoint or predictions file → scores with intervals.

    \b
    Examples:
      llmkit eval runs/tiny-squad
      llmkit eval --predictions FILE --data FILE --task squad
    """
    from llmkit import evaluate as story
    from llmkit.console import print_json
    from llmkit.tasks import task_named

    if (model is None) == (predictions is None):
        raise UserError("one thing is scored at a time", remedy="give a run or model, or --predictions FILE")
    if predictions is not None:
        if task is None or data is None:
            raise UserError(
                "a predictions file says neither its task nor its data", remedy="give both: --task squad --data FILE"
            )
        if output is not None:
            raise UserError("-o has no effect beside --predictions", remedy="leave it out; --json prints the scores")
        scores = story.evaluate_predictions(predictions, task_named(task), data, split)
        print_json(scores) if as_json else story.show(task_named(task), scores, str(predictions))
        return
    assert model is not None
    name = model
    settings = story.settings_of(name, task, data)
    story.check(name, settings, split, output)

    def run() -> None:
        scores = story.evaluate_model(name, settings, split, output)
        print_json(scores) if as_json else story.show(settings.task, scores, name)

    _go(processes, run)


@app.command()
def predict(
    model: Model,
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A file of rows (.jsonl, .json, .csv, .tsv, .parquet) in the columns that the task reads, or `demo`. "
            "Gold answers may be there; they are not looked at.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="The file of predictions, .jsonl: a line `{id, text, score, …}` a row."),
    ],
    task: TaskName = None,
    processes: Processes = None,
) -> None:
    """A model and a file of rows → a prediction for each.

    All rows are checked first. Then they go through in chunks: the file may be larger than memory (a .json file is
    read whole). Stopped or killed, the same command goes on after the last chunk, and OUTPUT appears when it is whole.

    \b
    Example:
      llmkit predict runs/demo/squad demo -o answers.jsonl
    """
    from llmkit import predict as story
    from llmkit.evaluate import settings_of

    prepared = story.prepare(model, settings_of(model, task, source), source, output)
    _go(processes, lambda: story.predict(prepared))


for command in (ask, verify, tasks, doctor):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from llmkit import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _go(processes: int | None, run: Callable[[], None]) -> None:
    """Run in this process, or in several; everything was prepared and checked by now."""
    from llmkit.processes import check_launch, default_processes, end_group, launched, relaunch

    check_launch(processes)
    count = processes or (1 if launched() else default_processes())
    if count > 1 and not launched():
        raise typer.Exit(relaunch(count, sys.argv[1:]))
    run()
    end_group()


def _fail(problems: Sequence[str], remedy: str) -> None:
    from llmkit.console import fail

    fail(problems, remedy)


def main() -> None:
    """The one place where errors become messages: what a user can fix exits with 1, a bug shows its traceback."""
    try:
        app()
    except UserError as error:
        _fail(error.problems, error.remedy)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            raise
        place = f"{error.filename}: " if error.filename else ""
        _fail(
            [f"{place}{os.strerror(error.errno)}"],
            "make room or choose another folder, and run the command again",
        )
        sys.exit(1)
    except Stopped as stop:
        _fail([str(stop)], stop.remedy)
        sys.exit(stop.exit_code)
    except SystemExit as stop:
        if stop.code == 130:  # what typer makes of Ctrl-C
            _fail(
                ["stopped"],
                "a run that has a checkpoint goes on with --resume, tokenize and predict with the same command",
            )
        raise
