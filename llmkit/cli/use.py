"""Commands that put a model to use: on rows, on questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import (
    AsJson,
    BatchSize,
    Data,
    DataOverrides,
    Model,
    Processes,
    Split,
    TaskName,
    TasksFile,
)
from llmkit.system.errors import UserError


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
    overrides: DataOverrides = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    batch_size: BatchSize = 32,
    processes: Processes = None,
) -> None:
    """A model and a file of rows → a prediction for each.

    All rows are checked first. Then they go through in chunks: the file may be larger than memory (a .json file is
    read whole). Stopped or killed, the same command goes on after the last chunk, and OUTPUT appears when it is whole.

    \b
    Example:
      llmkit predict runs/demo/squad demo -o answers.jsonl
    """
    from llmkit.commands import predict as story
    from llmkit.system.advice import Advice
    from llmkit.system.launch import run_in
    from llmkit.tasks.settings import settings_of

    settings = settings_of(model, task, source, overrides or ())
    prepared = story.prepare(settings, source, output, batch_size)
    advice = Advice(resume="go on with the same command", less_memory="halve --batch-size")
    run_in(processes, lambda: story.predict(prepared), advice)


def ask(
    model: Model,
    question: Annotated[str, typer.Option("-q", "--question", help="The question.")],
    context: Annotated[str | None, typer.Option("-c", "--context", help="The passage.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="PATH",
            help="A text file, or a folder: all .txt and .md files under it, hidden ones left out. Give it once each.",
        ),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option("--answers", min=1, help="Answers to give from several files.", show_default="5"),
    ] = None,
    tasks_file: TasksFile = None,
    as_json: AsJson = False,
) -> None:
    """A question and a passage, a file or folders of files → answers and their places.

    All of the text is read, for every question: there is no index. It takes as long as `llmkit eval` on as much text.
    From several files come the likeliest answers, with their share among the candidates in all files; a model that
    was taught to abstain does so file by file.

    \b
    Examples:
      llmkit ask runs/demo/squad -q "Who founded Ambury?" -c "Ambury was founded by Tom Reed in 1820."
      llmkit ask runs/demo/squad -q "Who founded Ambury?" -f FOLDER -f FILE
    """
    from llmkit.commands import ask as story
    from llmkit.system.console import print_json

    if context is None and files and (len(files) > 1 or files[0].is_dir()):
        found = story.ask_all(model, question, files, answers or story.ANSWERS)
        print_json([answer.as_row() for answer in found]) if as_json else story.show_all(found)
        return
    if answers is not None:
        raise UserError("--answers has no effect on one passage", remedy="leave it out; --json has all candidates")
    file = files[0] if files else None
    text = story.passage_of(context, file)
    answer = story.ask(model, question, text, str(file) if file else "the passage")
    if as_json:
        print_json({**answer.prediction.as_row(), "line": answer.line})
    else:
        story.show(answer, text)


def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="RUN_OR_MODEL", help="A run, a checkpoint folder or a Hub id.")
    ] = None,
    overrides: DataOverrides = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
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
    from llmkit.system.advice import Advice
    from llmkit.system.console import print_json
    from llmkit.system.launch import run_in
    from llmkit.tasks import task_named
    from llmkit.tasks.score_tables import show
    from llmkit.tasks.settings import settings_of

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
    prepared = story.prepare(settings_of(name, task, data, how), split, output)

    def run() -> None:
        scores = story.evaluate(prepared, batch_size)
        print_json(scores) if as_json else show(prepared.settings.task, scores, name)

    run_in(processes, run, Advice(less_memory="halve --batch-size"))
