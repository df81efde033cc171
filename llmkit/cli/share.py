"""Commands that hand a model to others: `export` and `push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import AsJson, Data, DataOverrides, Model, Split, TaskName, TasksFile


def export(
    model: Model,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for the ONNX graphs, the tokenizer files and config.json."),
    ],
    overrides: DataOverrides = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Also write int8 graphs, _int8.onnx: a quarter of the size, slightly lower scores."
        ),
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
            help="Number of examples to check on, from the start of the split.",
            show_default="500, or 50 for tasks that generate text",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a run or checkpoint to ONNX and check it against PyTorch.

    Compares logits, scores, size and speed on the same examples. If any logit differs by more than 0.0001, nothing is
    kept. An encoder becomes model.onnx; an encoder-decoder becomes encoder_model.onnx, decoder_model.onnx and
    decoder_with_past_model.onnx. Needs `pip install 'llmkit[export]'`.

    \b
    Examples:
      llmkit export runs/tiny-squad -o exported/tiny-squad
      llmkit export runs/tiny-squad -o exported/tiny-squad-int8 --int8 --examples 200
    """
    from llmkit.commands import export as command
    from llmkit.system.console import print_json

    subject = command.prepare(
        model, output, task=task, data=data, overrides=overrides or (), split=split, examples=examples
    )
    report = command.export(subject, output, int8=int8)
    print_json(report.as_json()) if as_json else command.show(report)


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    name: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="Name of the repository, existing or new.")],
    private: Annotated[bool, typer.Option("--private", help="If the repository is new, make it private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the files and the card; upload nothing.")] = False,
    tasks_file: TasksFile = None,
) -> None:
    """Upload a run's model and its model card to the Hub.

    Log in first: `hf auth login`. Only the model files and the card are uploaded, in one commit.

    \b
    Examples:
      llmkit push runs/tiny-squad jane/tiny-squad --dry-run
      llmkit push runs/tiny-squad jane/tiny-squad --private
    """
    from llmkit.commands import push as command
    from llmkit.system.console import result

    upload = command.prepare(run, name)
    command.show(upload) if dry_run else result(command.push(upload, private=private))
