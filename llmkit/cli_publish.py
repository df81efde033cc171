"""Commands that give a run away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    name: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="Name of the repository, new or yours.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show files and card, publish nothing.")] = False,
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
