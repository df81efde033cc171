"""The `llmkit` program: its commands, and how it exits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from llmkit.cli.audit import audit
from llmkit.cli.bench import bench
from llmkit.cli.checks import doctor, tasks, verify
from llmkit.cli.corpora import curate
from llmkit.cli.embed import embed
from llmkit.cli.evidence import compare
from llmkit.cli.explain import explain
from llmkit.cli.recipes import recipes_app
from llmkit.cli.report import report
from llmkit.cli.runs import runs, watch
from llmkit.cli.search import search
from llmkit.cli.serve import serve
from llmkit.cli.share import export, push
from llmkit.cli.train import demo, finetune, pretrain, tokenize
from llmkit.cli.use import ask, evaluate, predict

app = typer.Typer(
    name="llmkit",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is three times faster, because rich is not imported
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train and use BERT-class models: tokenize, pretrain, fine-tune, evaluate, predict, ask.\n\n"
    "Start with `llmkit demo`: it runs the whole flow offline on built-in data, in minutes.",
)
app.add_typer(recipes_app, name="recipes")
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "curate": curate,
    "tokenize": tokenize,
    "pretrain": pretrain,
    "finetune": finetune,
    "search": search,
    "bench": bench,
    "runs": runs,
    "watch": watch,
    "eval": evaluate,
    "predict": predict,
    "ask": ask,
    "serve": serve,
    "embed": embed,
    "compare": compare,
    "explain": explain,
    "report": report,
    "audit": audit,
    "export": export,
    "push": push,
    "verify": verify,
    "tasks": tasks,
    "doctor": doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("llmkit"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the program. Errors that the user can fix become a message and exit code 1; bugs show their traceback."""
    try:
        app()
    except SystemExit as stop:
        from llmkit.system.processes import launched

        if stop.code == 130 and not launched():  # typer's exit code for Ctrl-C; with -n the launcher prints a message
            from llmkit.system.exits import exit_with

            exit_with(
                130,
                ["stopped"],
                "resume a training run with --resume; continue curate, tokenize, embed or predict with the same "
                "command",
            )
        raise
    except Exception as error:  # hides nothing: exit_for raises bugs again
        from llmkit.system.exits import exit_for

        exit_for(error)
