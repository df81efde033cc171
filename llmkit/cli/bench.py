"""The command that says what checkpoints are worth: `bench`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import AsJson, AutoBatch, DryRun, Processes
from llmkit.cli.train import train_many
from llmkit.system.processes import processes_to_run


def bench(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL…", help="Runs, checkpoint folders or Hub ids, to be fine-tuned.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the runs and the results.")],
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="NAMES",
            help="Only these tasks, with commas between them: `cola`, `sst2`, `mrpc`, `stsb`, `qqp`, `mnli`, `qnli`, "
            "`rte`, `wnli`, `squad`, `squad_v2`, `conll2003`.",
            show_default="all",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder with a folder for each task, named like it, with its files: `sst2/train.jsonl`, "
            "`sst2/validation.jsonl`. Tasks without files are left out.",
            show_default="the Hub",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the first 1,000 examples of each split: a smoke test, in minutes.")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, metavar="N", help="Runs of each cell.", show_default="3, or 1 with --quick"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Changes nothing: the same command always goes on where it was stopped.")
    ] = False,
    dry_run: DryRun = False,
    auto_batch: AutoBatch = False,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune and score checkpoints on GLUE, SQuAD 1.1 and 2.0, and CoNLL-2003, by fixed recipes.

    Prints one table: the official scores with 95 % intervals and the deviation between seeds, and the mean of GLUE. For
    several models also the difference on each task, with p-values corrected after Holm. Each cell, a model on a
    task, is a folder as of `finetune --seeds`, in FOLDER/MODEL/TASK. Cells that are finished are not trained again.

    \b
    Examples:
      llmkit bench runs/mine google-bert/bert-base-uncased -o benches/mine
      llmkit bench runs/mine -o benches/quick --quick --only sst2,cola,squad
    """
    from llmkit.commands import bench as command
    from llmkit.commands.bench_results import show

    prepared = command.prepare(
        models,
        output,
        [name.strip() for name in only.split(",")] if only is not None else None,
        data,
        quick=quick,
        count=seeds,
        auto_batch=auto_batch,
        processes=processes_to_run(processes),
    )
    if dry_run:
        return command.dry_run(prepared)
    train_many(
        partial(command.train, prepared),
        partial(show, folder=output),
        processes,
        as_json=as_json,
        todo=bool(prepared.todo()),
    )
