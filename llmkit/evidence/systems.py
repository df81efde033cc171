"""What can be compared: runs, folders of runs of several seeds, and predictions files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.system.seed_runs import runs_of

PREDICTIONS = "predictions.jsonl"
_SEED = ("name", "train.seed")  # the keys in which runs of several seeds differ


@dataclass(frozen=True)
class System:
    """A system under comparison. `files` are its predictions; several are those of one recipe with several seeds.

    `runs` are the runs that made them; empty for files without runs.
    """

    name: str
    files: tuple[Path, ...]
    runs: tuple[RunDir, ...] = ()

    @cached_property
    def recipe(self) -> dict[str, Any] | None:
        """The recipe of its runs, that of the first seed; None for files without runs."""
        return self.runs[0].recipe() if self.runs else None


def system_named(name: str) -> System:
    """The system of a run, of a folder with runs of several seeds, of the output of `llmkit eval -o`, or of a file.

    Raises UserError if there are no predictions, or if the runs of a folder differ in more than their seed.
    """
    path = Path(name)
    if path.is_file():
        return System(name, (path,))
    if not path.is_dir():
        raise UserError(f"{name} does not exist", remedy="give runs, or files with predictions")
    found = runs_of(path)
    files = tuple(run.path / PREDICTIONS for run in found)
    for run, file in zip(found, files, strict=True):
        if run.started and not run.finished:
            raise UserError(
                f"{run.path} is not finished", remedy=f"finish it: its command, with --resume -o {run.path}"
            )
        if not file.is_file():
            raise UserError(
                f"{run.path} has no predictions",
                remedy="give fine-tuned runs, folders that `llmkit eval -o` wrote, or predictions files",
            )
    runs = tuple(run for run in found if run.started)
    _check_seeds(name, runs)
    return System(name, files, runs)


def _check_seeds(name: str, runs: Sequence[RunDir]) -> None:
    """Raises UserError if runs that count as one system have recipes that differ in more than their seed."""
    for run in runs[1:]:
        recipes = {"first": runs[0].recipe(), "other": run.recipe()}
        differing = [key for key in differing_keys(recipes) if key not in _SEED]
        if differing:
            raise UserError(
                f"{name}: {runs[0].path.name} and {run.path.name} differ in more than their seed: "
                f"{', '.join(differing)}",
                remedy="give these runs one by one",
            )


def check_scored_on(run: RunDir, fingerprint: str, where: str, remedy: str) -> None:
    """Raises UserError if a run was scored on other examples: equal ids do not make equal examples."""
    if run.environment()["data"].get("validation") != fingerprint:
        raise UserError(f"{run.path} was not scored on these examples: {where}", remedy=remedy)


def recipe_differences(systems: Sequence[System]) -> dict[str, dict[str, Any]]:
    """The keys of the recipes in which systems with runs differ: key → system → value. Names do not count, nor do the
    seeds of systems with several.

    Keys are as in overrides: `train.learning_rate`. A section that one system lacks is a value of the others.
    """
    recipes = {system.name: system.recipe for system in systems if system.recipe is not None}
    found = differing_keys(recipes)
    found.pop("name", None)
    if any(len(system.runs) > 1 for system in systems):
        found.pop("train.seed", None)
    return found


def differing_keys(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The keys in which plain values, by name, differ: key → name → value."""
    return dict(_differing_keys(dict(values)))


def _differing_keys(values: dict[str, Any], key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if all(isinstance(value, dict) for value in values.values()):
        for name in dict.fromkeys(name for value in values.values() for name in value):
            inner = {system: value.get(name) for system, value in values.items()}
            yield from _differing_keys(inner, f"{key}.{name}" if key else name)
    elif len({json.dumps(value) for value in values.values()}) > 1:
        yield key, values
