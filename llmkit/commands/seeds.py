"""`llmkit finetune --seeds N`: one recipe with N seeds, each an ordinary run, and a table of all of them.

runs/NAME/
  seed-42/ seed-43/ …   the runs
  seeds.json            the seeds; once all runs are finished, also their scores, mean and deviation, and the best
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from llmkit.commands import finetune
from llmkit.commands.in_series import InSeries, ReadOnce
from llmkit.commands.job import Job, open_job
from llmkit.commands.job import dry_run as try_job
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system.console import is_main, result, say, table
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir, hold, open_run
from llmkit.system.seed_runs import SUMMARY, runs_of, seed_run
from llmkit.tasks import task_named
from llmkit.tasks.score_tables import interval_text
from llmkit.training.resuming import is_finished, run_folder

LAST_SEED = 2**32 - 1


@dataclass
class Series:
    """Runs of one recipe with several seeds, checked. `todo` are the seeds whose runs are not finished.

    `first` is the job of the first of these, until it is trained; None if all runs are finished.
    """

    recipe: FinetuneRecipe
    folder: Path
    seeds: list[int]
    todo: list[int]
    resume: bool
    auto_batch: bool
    first: Job | None = None
    read: ReadOnce = field(default_factory=ReadOnce)

    def prepare(self, seed: int, processes: int | None = None) -> Job:
        """The job of a seed. Raises UserError. `processes` will train; by default, those of this launch."""
        if self.first is not None and self.first.recipe.train.seed == seed:
            job, self.first = self.first, None
            return job
        return finetune.prepare(
            with_seed(self.recipe, seed),
            seed_run(self.folder, seed).path,
            resume=self.resume,
            auto_batch=self.auto_batch,
            processes=processes,
            read=self.read,
        )


def with_seed(recipe: FinetuneRecipe, seed: int) -> FinetuneRecipe:
    """The recipe with another seed."""
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})


def prepare(
    recipe: FinetuneRecipe, output: Path | None, count: int, *, resume: bool, auto_batch: bool, processes: int
) -> Series:
    """Check the folders of all runs, and prepare the first one that is not finished. The seeds are the recipe's and
    those that follow it.

    Raises UserError; writes only to the cache. `processes` will train.
    """
    series = planned(recipe, output, count, resume=resume, auto_batch=auto_batch, processes=processes)
    if series.todo:
        series.first = series.prepare(series.todo[0], processes)
    return series


def planned(
    recipe: FinetuneRecipe, output: Path | None, count: int, *, resume: bool, auto_batch: bool, processes: int
) -> Series:
    """As `prepare`, but checks the folders alone: no job is prepared yet."""
    folder, first = run_folder(recipe, output), recipe.train.seed
    if first + count - 1 > LAST_SEED:
        raise UserError(f"{count} seeds from {first} on go beyond {LAST_SEED}", remedy="lower train.seed")
    _check_folder(folder, resume=resume)
    seeds = list(range(first, first + count))
    todo = []
    for seed in seeds:
        run, seeded = seed_run(folder, seed), with_seed(recipe, seed)
        if resume and is_finished(run, seeded, processes):
            continue
        open_job(seeded, run.path, resume=resume, auto_batch=auto_batch, processes=processes)
        todo.append(seed)
    return Series(recipe, folder, seeds, todo, resume, auto_batch)


def _check_folder(folder: Path, *, resume: bool) -> None:
    if (folder / SUMMARY).is_file():
        if not resume:
            raise UserError(
                f"{folder} is in use", remedy="resume its runs with --resume, or choose another folder with -o"
            )
    elif RunDir(folder).started:
        raise UserError(f"{folder} holds a single run", remedy="choose another folder with -o")
    else:
        open_run(folder, resume=False)


def train(series: Series, runs: InSeries | None = None) -> dict[str, Any]:
    """Train the runs that are not finished, one after another. Returns the summary; also in seeds.json.

    `runs` trains them if the series is part of something longer.
    """
    folder, runs = series.folder, runs or InSeries(series.folder)
    with hold(RunDir(folder)):
        if is_main():
            RunDir(folder).write_json(SUMMARY, {"seeds": series.seeds})
        for seed in series.todo:
            number = series.seeds.index(seed) + 1
            say(f"{number} of {len(series.seeds)}  seed {seed}: {seed_run(folder, seed).path}")
            runs.train(partial(series.prepare, seed))
        return summarize(series) if is_main() else {}


def dry_run(series: Series) -> None:
    """Estimate what the runs that are not finished will take. Writes nothing."""
    if series.first is None:
        return say("all runs are finished: nothing is left to do")
    try_job(series.first, len(series.todo))


def summarize(series: Series) -> dict[str, Any]:
    """Write and return what came of the runs, which are all finished."""
    task = task_named(series.recipe.task)
    runs = {run.path.name: _headline(run, task.headline) for run in runs_of(series.folder)}
    values = {name: [scores[name] for scores in runs.values()] for name in task.headline}
    summary = {
        "seeds": series.seeds,
        "metric": task.metric,
        "runs": runs,
        "mean": {name: fmean(found) for name, found in values.items()},
        "standard_deviation": {name: stdev(found) if len(found) > 1 else None for name, found in values.items()},
        "best": max(runs, key=lambda name: runs[name][task.metric]),
    }
    RunDir(series.folder).write_json(SUMMARY, summary)
    return summary


def _headline(run: RunDir, names: tuple[str, ...]) -> dict[str, Any]:
    scores = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    wanted = [key for name in names for key in (name, f"{name}_interval")]
    return {key: scores[key] for key in wanted if key in scores}


def show(summary: Mapping[str, Any], folder: Path) -> None:
    """Print the table of all runs, and which is best."""
    names = list(summary["mean"])
    rows = []
    for run, scores in summary["runs"].items():
        cells = ((f"{scores[name]:.2f}", interval_text(scores.get(f"{name}_interval"))) for name in names)
        rows.append([run, *(cell for pair in cells for cell in pair)])
    for title, values in (("mean", summary["mean"]), ("deviation", summary["standard_deviation"])):
        cells = (("" if values[name] is None else f"{values[name]:.2f}", "") for name in names)
        rows.append([title, *(cell for pair in cells for cell in pair)])
    columns = [column for name in names for column in (f">{name}", "95 % interval")]
    table(["run", *columns], rows, title=f"{folder}, {len(summary['seeds'])} seeds")
    result(f"best {summary['metric']} on the validation data: {folder / summary['best']}")
