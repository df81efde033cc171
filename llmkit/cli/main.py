"""The commands: flags in, one call out. Nothing heavy is imported before a command runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from llmkit.cli.checks import doctor, tasks, verify
from llmkit.cli.recipes import recipes_app
from llmkit.cli.share import export, push
from llmkit.cli.train import demo, finetune, pretrain, tokenize
from llmkit.cli.use import ask, evaluate, predict

app = typer.Typer(
    name="llmkit",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is three times faster: rich and its Markdown are not imported
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From raw text to a working BERT-class model: tokenize, pretrain, fine-tune, evaluate, predict, ask.\n\n"
    "Start with `llmkit demo`: the whole flow on embedded data, offline, in minutes.",
)
app.add_typer(recipes_app, name="recipes")
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "tokenize": tokenize,
    "pretrain": pretrain,
    "finetune": finetune,
    "eval": evaluate,
    "predict": predict,
    "ask": ask,
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
    """The one place where errors become messages: what a user can fix exits with 1, a bug shows its traceback."""
    try:
        app()
    except SystemExit as stop:
        from llmkit.system.processes import launched

        if stop.code == 130 and not launched():  # what typer makes of Ctrl-C; -n PROCESSES says it once
            from llmkit.system.exits import exit_with

            exit_with(
                130,
                ["stopped"],
                "a run that has a checkpoint goes on with --resume, tokenize and predict with the same command",
            )
        raise
    except Exception as error:  # hides nothing: what is no message of ours is raised again
        from llmkit.system.exits import exit_for

        exit_for(error)
