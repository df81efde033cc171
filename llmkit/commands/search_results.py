"""What came of a search: the table of its trials, and the recipe of the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmkit.commands.trials import Trial, read_trials, run_of
from llmkit.recipes.ranges import override
from llmkit.system.console import result, table
from llmkit.system.errors import UserError
from llmkit.system.files import write_whole

BEST = "best.yaml"


def best_of(trials: Sequence[Trial], *, maximize: bool) -> Trial | None:
    """The best trial that has finished, the first of equal ones; None if none has."""
    sign = -1 if maximize else 1
    finished = [(sign * trial.score, trial.number, trial) for trial in trials if trial.score is not None]
    return min(finished)[2] if finished else None


def told(trial: Trial, trials: Sequence[Trial], metric: str, *, maximize: bool) -> str:
    """What came of a trial, in words, beside the best so far."""
    came = f"{metric} {_number(trial.score)}" if trial.score is not None else f"{trial.state} at step {trial.steps:,}"
    best = best_of(trials, maximize=maximize)
    return f"{came} (best: {_number(best.score)}, trial {best.number})" if best else came


def write_best(folder: Path, trials: Sequence[Trial], metric: str, *, maximize: bool) -> None:
    """Write the recipe of the best trial so far, if there is one."""
    best = best_of(trials, maximize=maximize)
    if best is None:
        return
    values = " ".join(override(key, value) for key, value in best.values.items())
    ended = sum(trial.state != "running" for trial in trials)
    comment = f"# The best of {ended} trials, with {metric} {_number(best.score)} on the validation data: {values}\n"
    recipe = (run_of(folder, best.number).path / "recipe.yaml").read_text(encoding="utf-8")
    write_whole(folder / BEST, comment + recipe)


def summary(folder: Path, metric: str, *, maximize: bool) -> dict[str, Any]:
    """The trials, and which is best. Raises UserError if none came to its end."""
    trials = read_trials(folder)
    best = best_of(trials, maximize=maximize)
    if best is None:
        raise UserError(
            f"none of {len(trials)} trials came to its end",
            remedy="if they diverged, search lower learning rates, in another folder with -o",
        )
    return {
        "metric": metric,
        "maximize": maximize,
        "trials": [{**asdict(trial), "steps": trial.steps} for trial in trials],
        "best": best.number,
        "recipe": str(folder / BEST),
    }


def show(found: Mapping[str, Any], folder: Path) -> None:
    """Print the table of the trials, and what to do next."""
    keys = list(found["trials"][0]["values"])
    rows = [
        [
            str(trial["number"]),
            *(str(trial["values"][key]) for key in keys),
            _number(trial["score"]),
            f"{trial['steps']:,}",
            "best" if trial["number"] == found["best"] else trial["state"],
        ]
        for trial in found["trials"]
    ]
    columns = [">trial", *(f">{key}" for key in keys), f">{found['metric']}", ">steps", "state"]
    table(columns, rows, title=f"{folder}, {len(rows)} trials")
    result(f"recipe of the best trial: {found['recipe']}      its run: {run_of(folder, found['best']).path}")


def _number(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}" if abs(score) >= 10 else f"{score:.4f}"
