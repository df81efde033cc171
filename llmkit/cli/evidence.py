"""Commands that defend a score: `compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli.options import AsJson, TaskName, TasksFile


def compare(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="SYSTEM…",
            help="Runs, folders with runs of several seeds, folders that `llmkit eval -o` wrote, or predictions files: "
            "a predictions.jsonl, or `{id: text}`. Overrides such as `data.language=en` may follow.",
        ),
    ],
    task: TaskName = None,
    tasks_file: TasksFile = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="What was predicted: file, pattern, folder or Hub id.", show_default="of the runs"),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Split of the dataset.")] = "validation",
    as_json: AsJson = False,
) -> None:
    """Compare the scores of systems on the same examples: is a difference more than chance?

    Prints scores with 95 % intervals, and for each pair of systems the difference with its interval and two p-values,
    by a paired bootstrap and by approximate randomization. With more than two systems, also p-values corrected for
    several comparisons, after Holm. Runs of several seeds are one system: mean and standard deviation.

    \b
    Examples:
      llmkit compare runs/bert-squad runs/minilm-squad
      llmkit compare one.json other.json --task squad --data dev-v1.1.json
    """
    from llmkit.commands import compare as command
    from llmkit.system.console import print_json

    names = [name for name in systems if not name.startswith("data.")]
    overrides = [name for name in systems if name.startswith("data.")]
    prepared = command.prepare(names, task, data, split, overrides)
    found = command.run(prepared)
    print_json(command.as_json(prepared, found)) if as_json else command.show(prepared, found)
