"""Commands that use a model: `predict`, `ask` and `eval`."""

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
            help="File of rows (.jsonl, .json, .csv, .tsv, .parquet, .conll) with the columns that the task reads, a "
            "quoted pattern for several files, or `demo`. Gold answers are ignored.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Predictions file (.jsonl): one line `{id, text, score, …}` per row."),
    ],
    overrides: DataOverrides = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    batch_size: BatchSize = None,
    processes: Processes = None,
) -> None:
    """Write a prediction for each row of a file.

    Checks all rows first, then predicts in chunks, so the file can be larger than memory (except .json, which is read
    whole). If the command is stopped or killed, run it again to continue after the last chunk. OUTPUT appears once it
    is complete.

    \b
    Example:
      llmkit predict runs/demo/squad demo -o answers.jsonl
    """
    from llmkit.commands import predict as command
    from llmkit.system.advice import Advice
    from llmkit.system.launch import run_in
    from llmkit.tasks.settings import settings_of

    settings = settings_of(model, task, source, overrides or ())
    prepared = command.prepare(settings, source, output, batch_size)
    advice = Advice(resume="continue with the same command", less_memory="set a small --batch-size, such as 8")
    run_in(processes, lambda: command.predict(prepared), advice)


def ask(
    model: Model,
    question: Annotated[str, typer.Option("-q", "--question", help="Question to answer.")],
    context: Annotated[str | None, typer.Option("-c", "--context", help="Passage to read.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="PATH",
            help="Text file, or folder of .txt and .md files (hidden files are skipped). Repeat -f for more.",
        ),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option("--answers", min=1, help="Number of answers from several files.", show_default="5"),
    ] = None,
    tasks_file: TasksFile = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question from a passage, a file or folders of files.

    The model reads all of the text for each question: there is no index. This takes as long as `llmkit eval` on the
    same amount of text. With several files, prints the most likely answers with their probabilities among the
    candidates in all files. A model trained on unanswerable questions abstains file by file. A model of similarity says
    how near the two texts are instead: the cosine of their vectors.

    \b
    Examples:
      llmkit ask runs/demo/squad -q "Who founded Ambury?" -c "Ambury was founded by Tom Reed in 1820."
      llmkit ask runs/demo/squad -q "Who founded Ambury?" -f FOLDER -f FILE
      llmkit ask runs/similarity -q "A ship sails." -c "A ship is sailing."
    """
    from llmkit.commands import ask as command
    from llmkit.commands import ask_similarity
    from llmkit.system.console import print_json

    if context is None and files and (len(files) > 1 or files[0].is_dir()):
        found = command.ask_all(model, question, files, answers or command.ANSWERS)
        print_json([answer.as_row() for answer in found]) if as_json else command.show_all(found)
        return
    if answers is not None:
        raise UserError("--answers has no effect on one passage", remedy="remove it; --json shows all candidates")
    file = files[0] if files else None
    text = command.passage_of(context, file)
    if ask_similarity.compares_texts(model):
        cosine = ask_similarity.similarity(model, question, text)
        print_json({"cosine": cosine}) if as_json else ask_similarity.show(cosine)
        return
    answer = command.ask(model, question, text, str(file) if file else "the passage")
    if as_json:
        print_json({**answer.prediction.as_row(), "line": answer.line})
    else:
        command.show(answer, text)


def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="RUN_OR_MODEL", help="Run folder, checkpoint folder or Hub id.")
    ] = None,
    overrides: DataOverrides = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    data: Data = None,
    split: Split = "validation",
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Score this file, not a model: `{id: text}` or a predictions.jsonl."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for metrics.json and predictions.jsonl.")
    ] = None,
    batch_size: BatchSize = None,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Score a run, a checkpoint or a predictions file.

    Prints the task's official scores with 95 % intervals.

    \b
    Examples:
      llmkit eval runs/tiny-squad
      llmkit eval --predictions FILE --data FILE --task squad
    """
    from llmkit.system.console import print_json
    from llmkit.tasks import task_named
    from llmkit.tasks.score_tables import show

    data_overrides = list(overrides or ())
    if model is not None and model.startswith("data."):  # with --predictions, the first argument is an override
        data_overrides.insert(0, model)
        model = None
    if model is None and predictions is None:
        raise UserError("nothing to score", remedy="give a run or model, or --predictions FILE")
    if model is not None and predictions is not None:
        raise UserError(
            "a model and a predictions file cannot be scored together",
            remedy="give a run or model, or --predictions FILE",
        )
    if predictions is not None:
        if task is None or data is None:
            raise UserError(
                "a predictions file names neither its task nor its data", remedy="give both: --task squad --data FILE"
            )
        if output is not None:
            raise UserError("-o has no effect with --predictions", remedy="remove it; --json prints the scores")
        from llmkit.commands.predictions_file import evaluate_predictions

        scores = evaluate_predictions(predictions, task_named(task), data, split, data_overrides)
        print_json(scores) if as_json else show(task_named(task), scores, str(predictions))
        return
    assert model is not None
    from llmkit.commands import evaluate as command
    from llmkit.system.advice import Advice
    from llmkit.system.launch import run_in
    from llmkit.tasks.settings import settings_of

    name = model
    prepared = command.prepare(settings_of(name, task, data, data_overrides), split, output)

    def run() -> None:
        scores = command.evaluate(prepared, batch_size)
        print_json(scores) if as_json else show(prepared.settings.task, scores, name)

    run_in(processes, run, Advice(less_memory="set a small --batch-size, such as 8"))
