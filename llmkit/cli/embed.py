"""The command `embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from llmkit.cli.options import BatchSize, Model, Processes


def embed(
    model: Model,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Texts: the lines of a .txt file, or a column of a .jsonl, .json, .csv, .tsv or .parquet file; or a "
            "quoted pattern for several files.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Vectors file (.parquet): columns `id` and `embedding`.")
    ],
    field: Annotated[str, typer.Option("--field", help="Column of the texts.")] = "text",
    pooling: Annotated[
        Literal["mean", "cls", "max"] | None,
        typer.Option("--pooling", help="How a text's tokens become one vector.", show_default="the model's, or mean"),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option("--dim", min=1, help="Keep the first so many numbers of a vector: for Matryoshka models."),
    ] = None,
    normalize: Annotated[
        bool, typer.Option("--normalize/--raw", help="Vectors of length 1, or as the model gives them.")
    ] = True,
    max_length: Annotated[
        int | None,
        typer.Option("--max-length", min=8, help="Tokens of a text; the rest is cut off.", show_default="the model's"),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help="Name of a prompt of the model, or a text to put before each text, such as 'query: '; '' for none.",
            show_default="the model's own default",
        ),
    ] = None,
    batch_size: BatchSize = None,
    processes: Processes = None,
) -> None:
    """Write a vector for each text of a file.

    Works with any run or encoder, and with models of sentence-transformers, whose pooling and prompts it reads. Vectors
    have length 1, so their dot product is the cosine of the angle between them. Rows keep the order of the file, which
    can be larger than memory (except .json). If the command is stopped or killed, run it again to continue after the
    last chunk. OUTPUT appears once it is complete.

    \b
    Examples:
      llmkit embed runs/bert notes.txt -o vectors.parquet
      llmkit embed sentence-transformers/all-MiniLM-L6-v2 mails.csv --field body -o vectors.parquet
    """
    from llmkit.commands import embed as command
    from llmkit.system.advice import Advice
    from llmkit.system.launch import run_in
    from llmkit.tasks.similarity.embedder import Wanted

    wanted = Wanted(pooling, dim, normalize, max_length, prompt)
    prepared = command.prepare(model, source, output, wanted, field=field, batch_size=batch_size)
    advice = Advice(resume="continue with the same command", less_memory="set a small --batch-size, such as 8")
    run_in(processes, lambda: command.embed(prepared), advice)
