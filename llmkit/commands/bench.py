"""`llmkit bench`: what checkpoints are worth on the usual tasks, by fixed recipes: a cell for each model and task.

FOLDER/
  MODEL/TASK/   a cell: what `llmkit finetune --seeds` makes
  bench.json    what is benched; once all cells are finished, also what came of them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.commands import compare, finetune, seeds
from llmkit.commands.bench_problems import Problems
from llmkit.commands.bench_results import as_json
from llmkit.commands.in_series import InSeries, ReadOnce
from llmkit.commands.job import dry_run as try_job
from llmkit.evidence.bench_scores import Found, score, with_holm
from llmkit.evidence.bench_tasks import Entry, chosen
from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.ranges import override
from llmkit.system.console import hushed, is_main, say
from llmkit.system.errors import UserError
from llmkit.system.exits import reports_to_launcher
from llmkit.system.run_folder import RunDir, hold, open_run
from llmkit.tasks import task_named
from llmkit.tasks.rows.splits import may_hold

RECORD = "bench.json"
QUICK = 1000  # examples of each split
SEEDS = 3


@dataclass(frozen=True)
class Cell:
    """A model on a task."""

    model: str
    entry: Entry
    series: seeds.Series

    def __str__(self) -> str:
        return f"{self.model}, {self.entry.name}"


@dataclass(frozen=True)
class Bench:
    """A bench, checked and ready to start or to go on. The cells of a task follow one another: its data are read once.

    `models` are by name, with their folders in this one. `left_out` says for each task without data what is missing.
    """

    folder: Path
    models: dict[str, str]
    entries: list[Entry]
    cells: list[Cell]
    quick: bool
    seeds: int
    left_out: dict[str, str]

    @property
    def record(self) -> dict[str, Any]:
        """The content of bench.json before there are results."""
        return {
            "models": self.models,
            "tasks": {entry.name: entry.recipe for entry in self.entries},
            "left_out": self.left_out,
            "first_examples": QUICK if self.quick else None,
            "seeds": self.seeds,
        }

    def todo(self) -> list[Cell]:
        """The cells that are not finished."""
        return [cell for cell in self.cells if cell.series.todo]


def prepare(
    models: Sequence[str],
    folder: Path,
    tasks: Sequence[str] | None,
    data: Path | None,
    *,
    quick: bool,
    count: int | None,
    auto_batch: bool,
    processes: int,
) -> Bench:
    """Check the tasks, the folders, and the models and data of all cells that are not finished. `processes` will train.

    `tasks` are names of the suite; None are all that there are files for in `data`, or all if that is None too. `count`
    is the number of seeds. Raises UserError with all problems; writes only to the cache.
    """
    entries, folders = chosen(tasks), _folders(models)
    if not (folder / RECORD).is_file():
        if RunDir(folder).started:
            raise UserError(f"{folder} holds a run", remedy="choose another folder with -o")
        open_run(folder, resume=False)
    left_out = _without_data(entries, data) if data is not None else {}
    if left_out and (tasks is not None or len(left_out) == len(entries)):
        raise UserError(
            *(f"{name}: {why}" for name, why in left_out.items()),
            remedy="add the files, or leave these tasks out with --only; without --data, the Hub has them",
        )
    entries = [entry for entry in entries if entry.name not in left_out]
    number, read = count or (1 if quick else SEEDS), ReadOnce()
    cells, problems = [], Problems()
    for entry in entries:
        for model in models:
            with problems.of(f"{model}, {entry.name}", entry.name):
                recipe = _recipe(entry, model, data, quick=quick)
                path = folder / folders[model] / entry.name
                series = seeds.planned(recipe, path, number, resume=True, auto_batch=auto_batch, processes=processes)
                series.read = read
                cells.append(Cell(model, entry, series))
                if series.todo and not reports_to_launcher():  # whose process has checked the jobs
                    _check_length(model, recipe)
                    with hushed():  # it is said again when the cell is trained
                        series.prepare(series.todo[0], processes)
    problems.check([entry.name for entry in entries])
    return Bench(folder, folders, entries, cells, quick, number, left_out)


def _folders(models: Sequence[str]) -> dict[str, str]:
    """The folder of each model: the last part of a path, and all of a Hub id. Raises UserError."""
    found: dict[str, str] = {}
    problems = Problems()
    for model in models:
        with problems.of(model):
            Checkpoint.named(model)
        name = Path(model).resolve().name if Path(model).exists() else model.replace("/", "--")
        if name in found.values():
            raise UserError(f"two models are named {name}", remedy="give each once, in folders of different names")
        found[model] = name
    problems.check([])
    return found


def _without_data(entries: Sequence[Entry], data: Path) -> dict[str, str]:
    """The tasks of which a split is not in their folder, and what was looked for. Raises UserError."""
    if not data.is_dir():
        raise UserError(f"--data: no such folder: {data}", remedy="check the path")
    found = {}
    for entry in entries:
        parts = [(split, part) for split in ("train", "validation") for part in task_named(entry.task).splits(split)]
        missing = [part for split, part in parts if not may_hold(data / entry.name, split, part)]
        if missing:
            found[entry.name] = f"no {' and no '.join(f'{data / entry.name / part}.*' for part in missing)}"
    return found


def _recipe(entry: Entry, model: str, data: Path | None, *, quick: bool) -> FinetuneRecipe:
    overrides = [override("model.pretrained", model)]
    if data is not None:
        overrides.append(override("data.path", str(data / entry.name)))
    if quick:
        overrides.append(f"data.max_samples={QUICK}")
    return finetune.recipe_of(entry.task, entry.recipe, overrides)


def _check_length(model: str, recipe: FinetuneRecipe) -> None:
    positions, length = Checkpoint.named(model).positions, recipe.data.max_length
    if positions is not None and positions < length:
        raise UserError(
            f"the model reads at most {positions} tokens, and the recipe's inputs have up to {length}",
            remedy="leave the model or the task out",
        )


def dry_run(bench: Bench) -> None:
    """Estimate what the runs that are not finished will take, cell by cell. Writes nothing."""
    for cell in bench.todo():
        say(f"{cell}:")
        series = cell.series
        try_job(series.prepare(series.todo[0]), len(series.todo))
    if not bench.todo():
        say("all cells are finished: nothing is left to do")


def train(bench: Bench) -> dict[str, Any]:
    """Train the runs that are not finished, one after another. Returns what is then in bench.json (on process 0)."""
    runs, folder = InSeries(bench.folder), RunDir(bench.folder)
    for name, why in bench.left_out.items():
        say(f"{name} is left out: {why}")
    with hold(folder):
        if is_main():
            folder.write_json(RECORD, bench.record)
        left, total = len(bench.todo()), len(bench.cells)
        if left < total:
            say(f"{total - left} of {total} cells are finished")
        for cell in bench.cells:
            if cell.series.todo:
                say(f"cell {total - left + 1} of {total}  {cell}: {cell.series.folder}")
                left -= 1
            seeds.train(cell.series, runs)
        if not is_main():
            return {}
        found = as_json(bench.record, with_holm([_scored(bench, entry) for entry in bench.entries]))
        folder.write_json(RECORD, found)
        return found


def _scored(bench: Bench, entry: Entry) -> Found:
    models = {str(cell.series.folder): cell.model for cell in bench.cells if cell.entry == entry}
    read = compare.read(list(models), None, None, "validation")
    predictions = {models[folder]: runs for folder, runs in read.predictions.items()}
    return score(entry, read.task, predictions, read.examples, read.data)
