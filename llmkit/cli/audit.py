"""The command that doubts a score: `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import AsJson, Data, DataOverrides, Model, Split, TaskName, TasksFile


def audit(
    model: Model,
    overrides: DataOverrides = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            metavar="PART",
            help="Part of the audit; may be given several times: contamination, robustness, fairness.",
            show_default="all",
        ),
    ] = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    data: Data = None,
    split: Split = "validation",
    corpus: Annotated[
        Path | None,
        typer.Option(
            "--corpus",
            metavar="DIR",
            help="Token shards that the model was pretrained on.",
            show_default="those of the run that it started from",
        ),
    ] = None,
    examples: Annotated[
        int,
        typer.Option("--examples", metavar="N", min=1, help="Examples to change, drawn at random, always the same."),
    ] = 500,
    crows_pairs: Annotated[
        Path | None,
        typer.Option("--crows-pairs", metavar="FILE", help="File of CrowS-Pairs.", show_default="on the Hub"),
    ] = None,
    stereoset: Annotated[
        Path | None,
        typer.Option("--stereoset", metavar="FILE", help="File of StereoSet.", show_default="on the Hub"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for audit.json.", show_default="the run"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for reasons to doubt a model's score.

    Contamination: how many examples of the evaluation data are also in the training data, or in the corpus of the
    pretraining run, and the score without them. Needs `pip install "llmkit[audit]"`.

    Robustness: the score when texts have typing errors, capitals, other names and numbers, a distracting sentence.

    Fairness: the answers when people in the texts are of another gender or origin; for a pretraining run, CrowS-Pairs
    and StereoSet.

    Writes audit.json to the run, and a section of its model card.

    \b
    Examples:
      llmkit audit runs/bert-squad
      llmkit audit runs/bert-squad --part contamination --data dev.json --json
    """
    from llmkit.commands import audit as command
    from llmkit.evidence.audit.audited import Wanted
    from llmkit.system.console import print_json

    prepared = command.prepare(
        model,
        part or (),
        Wanted(corpus, examples, crows_pairs, stereoset),
        task=task,
        data=data,
        split=split,
        overrides=overrides or (),
    )
    found = command.run(prepared)
    audit = command.as_json(prepared, found)
    print_json(audit) if as_json else command.show(prepared, found)
    command.save(model, audit, output)
