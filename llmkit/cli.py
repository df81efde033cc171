"""The commands: flags in, one call out. Nothing heavy is imported before a command runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli_checks import doctor, tasks, verify
from llmkit.cli_export import export
from llmkit.cli_options import (
    AsJson,
    AutoBatch,
    BatchSize,
    Data,
    DataOverrides,
    DryRun,
    Output,
    Overrides,
    Processes,
    Recipe,
    Resume,
    Split,
    TaskName,
)
from llmkit.cli_publish import push
from llmkit.cli_recipes import recipes_app
from llmkit.cli_use import ask, predict
from llmkit.system.errors import UserError

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
    from llmkit.commands.demo import run_demo, show
    from llmkit.system.console import print_json

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
    from llmkit.system.console import result
    from llmkit.system.machine import quiet

    if not corpus:
        raise UserError("no source of text is given", remedy="name one with -c, for instance -c wikipedia")
    recipe = recipe_from(TokenizeRecipe, {"sources": list(corpus)}, overrides or ())
    quiet()
    prepared = story.prepare(recipe.sources, recipe.tokenizer, output)

    def run() -> None:
        result(str(story.tokenize(prepared)))

    run() if prepared.is_made else _go(processes, run, one_a_gpu=False)


@app.command()
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
    from llmkit.training.signals import HEARD

    prepared = story.prepare(settings, output, resume=resume, auto_batch=auto_batch)
    if dry_run:
        return story.dry_run(prepared)
    _go(processes, lambda: story.finish_line(story.pretrain(prepared)), on_signal=HEARD)


@app.command()
def finetune(
    overrides: Overrides = None,
    task: TaskName = None,
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
    from llmkit.recipes.finetuning import FinetuneRecipe
    from llmkit.recipes.reading import read_recipe
    from llmkit.tasks import TASKS, task_named

    if recipe is None and task is None:
        raise UserError("neither a task nor a recipe is given", remedy="name one: --task squad, or -r RECIPE")
    name = recipe or task_named(task or "").recipe
    chosen = [f"task={task_named(task).name}"] if task is not None else []
    settings = read_recipe(FinetuneRecipe, name, [*chosen, *(overrides or ())], tasks=TASKS)
    from llmkit.commands import finetune as story
    from llmkit.training.signals import HEARD

    prepared = story.prepare(settings, output, resume=resume, auto_batch=auto_batch)
    if dry_run:
        return story.dry_run(prepared)
    _go(processes, lambda: story.finish_line(story.finetune(prepared)), on_signal=HEARD)


@app.command(name="eval")
def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="RUN_OR_MODEL", help="A run, a checkpoint folder or a Hub id.")
    ] = None,
    overrides: DataOverrides = None,
    task: TaskName = None,
    data: Data = None,
    split: Split = "validation",
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Score this file in place of a model: `{id: text}`, or predictions.jsonl."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for metrics.json and predictions.jsonl.")
    ] = None,
    batch_size: BatchSize = 32,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """A run, checkpoint or predictions file → scores with intervals.

    \b
    Examples:
      llmkit eval runs/tiny-squad
      llmkit eval --predictions FILE --data FILE --task squad
    """
    from llmkit.commands import evaluate as story
    from llmkit.models.purpose import settings_of
    from llmkit.system.console import print_json
    from llmkit.tasks import task_named
    from llmkit.tasks.score_tables import show

    how = list(overrides or ())
    if model is not None and model.startswith("data."):  # beside --predictions there is no model before it
        how.insert(0, model)
        model = None
    if (model is None) == (predictions is None):
        raise UserError("one thing is scored at a time", remedy="give a run or model, or --predictions FILE")
    if predictions is not None:
        if task is None or data is None:
            raise UserError(
                "a predictions file says neither its task nor its data", remedy="give both: --task squad --data FILE"
            )
        if output is not None:
            raise UserError("-o has no effect beside --predictions", remedy="leave it out; --json prints the scores")
        scores = story.evaluate_predictions(predictions, task_named(task), data, split, how)
        print_json(scores) if as_json else show(task_named(task), scores, str(predictions))
        return
    assert model is not None
    name = model
    settings = settings_of(name, task, data, how)
    story.check(name, settings, split, output)

    def run() -> None:
        scores = story.evaluate_model(name, settings, split, output, batch_size)
        print_json(scores) if as_json else show(settings.task, scores, name)

    _go(processes, run)


for command in (predict, ask, export, push, verify, tasks, doctor):
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


def _go(processes: int | None, run: Callable[[], None], *, on_signal: str = "", one_a_gpu: bool = True) -> None:
    """Run in this process, or in several; everything was prepared and checked by now."""
    from llmkit.system.launch import run_in

    run_in(processes, run, on_signal=on_signal, one_a_gpu=one_a_gpu)


def main() -> None:
    """The one place where errors become messages: what a user can fix exits with 1, a bug shows its traceback."""
    try:
        app()
    except SystemExit as stop:
        from llmkit.system.processes import launched

        if stop.code == 130 and not launched():  # what typer makes of Ctrl-C; -n PROCESSES says it once
            from llmkit.system.exits import end

            end(
                130,
                ["stopped"],
                "a run that has a checkpoint goes on with --resume, tokenize and predict with the same command",
            )
        raise
    except Exception as error:  # hides nothing: what is no message of ours is raised again
        from llmkit.system.exits import end_for

        end_for(error)
