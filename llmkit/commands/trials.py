"""The trials of a search, as its folder records them: `trials.jsonl`, a line each, which is replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from llmkit.system.files import parse_json, text_lines, to_json_lines, write_whole
from llmkit.system.run_folder import RunDir

FILE = "trials.jsonl"
State = Literal["running", "finished", "pruned", "diverged"]


@dataclass(frozen=True)
class Trial:
    """A trial: its number, from 1, and what it tries.

    `values` map keys of the recipe to values. `score` is that of a trial that has finished. `evaluations` are the steps
    and scores of its evaluations, once it has ended.
    """

    number: int
    values: Mapping[str, Any]
    state: State = "running"
    score: float | None = None
    evaluations: Sequence[tuple[int, float]] = ()

    @property
    def steps(self) -> int:
        """The step of its last evaluation."""
        return self.evaluations[-1][0] if self.evaluations else 0


def run_of(folder: Path, number: int) -> RunDir:
    """The run of a trial."""
    return RunDir(folder / "trials" / f"{number:04d}")


def read_trials(folder: Path) -> list[Trial]:
    """The trials that a search has begun. Raises UserError if the file is damaged."""
    path = folder / FILE
    rows = (parse_json(text, path, line) for line, text in text_lines(path)) if path.is_file() else ()
    return [Trial(**row) for row in rows]


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Record the trials."""
    write_whole(folder / FILE, to_json_lines(asdict(trial) for trial in trials))


def evaluations_of(run: RunDir, metric: str) -> list[tuple[int, float]]:
    """The steps and scores of the evaluations that a run has logged. That of step 0 is none of them."""
    found: dict[int, float] = {}
    path = run.path / "log.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(ValueError):  # the run was killed while it wrote this line
            record = json.loads(line)
            if f"eval_{metric}" in record and record["step"]:
                found[record["step"]] = record[f"eval_{metric}"]
    return sorted(found.items())
