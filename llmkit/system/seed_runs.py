"""Runs of several seeds under one folder: `seed-42`, `seed-43`, … and `seeds.json`, which says what came of them."""

from __future__ import annotations

from pathlib import Path

from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text
from llmkit.system.run_folder import RunDir

SUMMARY = "seeds.json"


def seed_run(folder: Path, seed: int) -> RunDir:
    """The run of a seed."""
    return RunDir(folder / f"seed-{seed}")


def runs_of(folder: Path) -> list[RunDir]:
    """The runs of a folder: those of its seeds, in the order of these, or else the folder itself, whatever it is.

    Raises UserError if the run of one of its seeds is not finished.
    """
    summary = folder / SUMMARY
    if not summary.is_file():
        return [RunDir(folder)]
    runs = [seed_run(folder, seed) for seed in parse_json(read_text(summary), summary)["seeds"]]
    if unfinished := [run.path.name for run in runs if not run.finished]:
        raise UserError(
            f"{folder}: not finished: {', '.join(unfinished)}",
            remedy=f"finish the command that started them: the same one, with --resume -o {folder}",
        )
    return runs
