"""The command that takes a model out of llmkit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import AsJson, Data, DataOverrides, Model, Split, TaskName, TasksFile


def export(
    model: Model,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for the graphs, the tokenizer's files and config.json."),
    ],
    overrides: DataOverrides = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Also graphs of a quarter of the size, _int8.onnx, for a little of the score."),
    ] = False,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    data: Data = None,
    split: Split = "validation",
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples",
            min=1,
            help="Check on the first so many examples of the data.",
            show_default="500, or 50 texts to write",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A run or checkpoint → ONNX, checked: logits, scores, size and speed beside PyTorch's, on the same examples.

    An encoder becomes model.onnx, an encoder-decoder encoder_model.onnx and decoder_model.onnx. What differs from
    PyTorch by more than 0.0001 in any logit is not kept. Needs `pip install 'llmkit[export]'`.

    \b
    Examples:
      llmkit export runs/tiny-squad -o exported/tiny-squad
      llmkit export runs/tiny-squad -o exported/tiny-squad-int8 --int8 --examples 200
    """
    from llmkit.commands import export as story
    from llmkit.system.console import print_json

    subject = story.prepare(
        model, output, task=task, data=data, overrides=overrides or (), split=split, examples=examples
    )
    report = story.export(subject, output, int8=int8)
    print_json(report.as_json()) if as_json else story.show(report)


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    name: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="Name of the repository, new or yours.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show files and card, publish nothing.")] = False,
    tasks_file: TasksFile = None,
) -> None:
    """A run's model and its model card → a repository on the Hub.

    Log in first: `hf auth login`. Only the files of the model and the card are uploaded, in one commit.

    \b
    Examples:
      llmkit push runs/tiny-squad jane/tiny-squad --dry-run
      llmkit push runs/tiny-squad jane/tiny-squad --private
    """
    from llmkit.commands import push as story
    from llmkit.system.console import result

    upload = story.prepare(run, name)
    story.show(upload) if dry_run else result(story.push(upload, private=private))
