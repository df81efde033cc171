"""`llmkit runs`: the runs in a folder, and how far each one is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmkit.system.console import duration, say, table
from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text
from llmkit.system.run_folder import RunDir, is_held
from llmkit.tasks import TASKS

LOSS = "loss"  # the score of pretraining, of which less is better
_OF_A_RUN = {"checkpoints", "model"}  # folders of a run, which hold no other
_WRITTEN = ("recipe.yaml", "log.jsonl", "metrics.json")


@dataclass(frozen=True)
class Listed:
    """A run.

    task     the name of its task; `pretrain` if it has none
    state    `running`, `finished`, or `stopped`: it can be resumed
    step     the last that was logged
    length   what the step is of, in words: `of 2,000 steps`, `epoch 0.85 of 2`
    metric   the score that selects the best checkpoint, and its best value so far; None before the first evaluation
    idle     seconds since it wrote something
    """

    run: str
    task: str
    state: str
    step: int
    length: str
    metric: str
    score: float | None
    idle: float

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def runs_in(folder: Path) -> list[Listed]:
    """The runs in a folder and its subfolders, the latest first. Raises UserError if there are none."""
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}", remedy="name the folder that your runs are in")
    found = [listed(RunDir(path)) for path in _folders(folder)]
    if not found:
        raise UserError(f"{folder} holds no run", remedy="name the folder that your runs are in")
    return sorted(found, key=lambda each: (each.idle, each.run))


def _folders(folder: Path) -> Iterator[Path]:
    for path, names, files in os.walk(folder):
        is_run = "recipe.yaml" in files and "env.json" in files
        if is_run:
            yield Path(path)
        names[:] = [name for name in names if not name.startswith(".") and not (is_run and name in _OF_A_RUN)]


def listed(run: RunDir) -> Listed:
    """A run that has started. Raises UserError if a file of it is damaged."""
    recipe, log = run.recipe(), run.log_rows()
    task = recipe.get("task", "pretrain")
    state = "finished" if run.finished else "running" if is_held(run) else "stopped"
    name = metric_of(recipe)
    last = log[-1] if log else {}
    written = max((run.path / file).stat().st_mtime for file in _WRITTEN if (run.path / file).is_file())
    return Listed(
        str(run.path),
        task,
        state,
        last.get("step", 0),
        _length(recipe["train"], last),
        name,
        _score(run, log, name),
        max(0.0, time.time() - written),
    )


def metric_of(recipe: Mapping[str, Any]) -> str:
    """The score that selects a run's best checkpoint; empty for a task that is not known here (--tasks)."""
    if "task" not in recipe:
        return LOSS
    return TASKS[recipe["task"]].metric if recipe["task"] in TASKS else ""


def _length(train: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    if train.get("max_steps"):
        return f"of {train['max_steps']:,} steps"
    if train.get("time_budget"):
        return f"{duration(last.get('seconds', 0))} of {train['time_budget']}"
    return f"epoch {last.get('epoch', 0):.2f} of {train['num_train_epochs']:g}"


def share_of(train: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    """The share of a run that is done by a row of its log, from 0 to 1."""
    if train.get("max_steps"):
        return float(row["step"] / train["max_steps"])
    if train.get("time_budget"):
        return float(row["seconds"] / train["time_budget"])
    return float(row.get("epoch", 0) / train["num_train_epochs"])


def _score(run: RunDir, log: Sequence[Mapping[str, Any]], name: str) -> float | None:
    if run.finished:
        metrics = run.path / "metrics.json"
        score = parse_json(read_text(metrics), metrics).get(name)
        return float(score) if isinstance(score, int | float) else None
    values = [row[f"eval_{name}"] for row in log if f"eval_{name}" in row and row["step"]]
    return (min(values) if name == LOSS else max(values)) if values else None


def show(found: Sequence[Listed], folder: Path) -> None:
    """Print the runs as a table."""
    rows = []
    for each in found:
        score = "" if each.score is None else f"{each.metric} {each.score:.{3 if each.metric == LOSS else 2}f}"
        written = f"{duration(each.idle)} ago"
        rows.append([each.run, each.task, each.state, f"{each.step:,}", each.length, score, written])
    table(["run", "task", "state", ">step", "", "best score", "last written"], rows)
    running = sum(each.state == "running" for each in found)
    say(f"{folder}: {len(found):,} run{'s' * (len(found) > 1)}, {running:,} of them running")
