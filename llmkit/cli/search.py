"""The command that tries many settings of a recipe: `search`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import AsJson, AutoBatch, DryRun, Processes, Recipe, Resume, TaskName, TasksFile
from llmkit.cli.train import train_many
from llmkit.system.processes import processes_to_run


def search(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=RANGE",
            help="What to search: a range, such as `train.learning_rate=1e-5..1e-3`, or several values, such as "
            "`train.per_device_train_batch_size=16,32`. Other overrides, `KEY=VALUE`, are for all trials.",
        ),
    ] = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    recipe: Recipe = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Number of trials.")] = 20,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the trials.", show_default="searches/NAME")
    ] = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    auto_batch: AutoBatch = False,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Search for the settings of a recipe with the best score on the validation data.

    The first ten trials are spread over the ranges; then optuna's TPE proposes what to try. A range that spans
    a factor of ten or more is searched on a logarithmic scale. After a quarter of its length, a trial ends early if its
    best score so far is below the median of the others at the same evaluation: `train.eval_steps=0.1` evaluates ten
    times. The recipe may be one for fine-tuning or for pretraining. Each trial is a run in `trials/`, and the best
    one's recipe is `best.yaml`.

    \b
    Example:
      llmkit search -r squad-bert-base train.learning_rate=1e-5..1e-4 train.eval_steps=0.1 --trials 20
    """
    from llmkit.commands import search as command
    from llmkit.commands.search_results import show

    prepared = command.prepare(
        task,
        recipe,
        overrides or (),
        output,
        trials,
        resume=resume,
        auto_batch=auto_batch,
        processes=processes_to_run(processes),
    )
    if dry_run:
        return command.dry_run(prepared)
    train_many(partial(command.train, prepared), partial(show, folder=prepared.folder), processes, as_json=as_json)
