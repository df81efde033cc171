"""The command that serves a model: `serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli.options import DataOverrides, Model, TaskName, TasksFile


def serve(
    model: Model,
    overrides: DataOverrides = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on. 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="LLMKIT_TOKEN",
            help="Secret that requests must send: `Authorization: Bearer TOKEN`. The environment variable keeps it "
            "out of the list of processes.",
            show_default="none is asked for",
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Run the int8 graphs of an ONNX export.")] = False,
    characters: Annotated[
        int, typer.Option("--max-characters", min=1, help="Most characters of text in a request.")
    ] = 200_000,
    waiting: Annotated[
        int, typer.Option("--max-waiting", min=1, help="Most requests that wait for their answer; others get a 503.")
    ] = 512,
    seconds: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Seconds until a request that has no answer gets a 504.")
    ] = 30.0,
    task: TaskName = None,
    tasks_file: TasksFile = None,
) -> None:
    """Serve a run, a checkpoint or an ONNX export over HTTP, with a page to try it.

    Requests that arrive together are read together. SIGTERM or Ctrl-C stops it after every accepted request is
    answered. An ONNX export runs in onnxruntime, everything else in PyTorch. Needs `pip install "llmkit[serve]"`.

    \b
    Examples:
      llmkit serve runs/demo/squad
      curl localhost:8000/predict -H "Content-Type: application/json" \\
        -d '{"question": "Who founded Ambury?", "context": "Ambury was founded by Tom Reed in 1820."}'
    """
    from llmkit.system.extras import need
    from llmkit.system.machine import keep_few_shapes

    need("serve", ["fastapi", "prometheus_client", "uvicorn"])
    keep_few_shapes()
    from llmkit.commands import serve as command
    from llmkit.serving.limits import Limits

    subject = command.prepare(model, task, overrides or (), int8=int8)
    command.serve(subject, host, port, token, Limits(characters, waiting, seconds))
