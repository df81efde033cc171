"""`llmkit search`: a recipe with ranges in, trials out, and the recipe of the best one.

    searches/NAME/
      search.json     what is searched
      trials.jsonl    a line for each trial: what it tries, its state and scores
      trials/0001/ …  the runs
      best.yaml       the recipe of the best trial so far

These files are all that a search knows. What to try next and which trial to give up are functions of them, so a search
that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from llmkit.commands import finetune, pretrain
from llmkit.commands.in_series import InSeries, ReadOnce
from llmkit.commands.job import Job
from llmkit.commands.job import dry_run as try_job
from llmkit.commands.sampling import check_installed, falls_behind, next_values
from llmkit.commands.search_results import summary, told, write_best
from llmkit.commands.trials import State, Trial, evaluations_of, read_trials, run_of, write_trials
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.ranges import Space, checked, combinations, ends_of, override, space_of
from llmkit.recipes.reading import dump, kind_of, read_recipe
from llmkit.recipes.shipped import locate
from llmkit.system.console import is_main, say
from llmkit.system.errors import EndedEarly, UserError, differences
from llmkit.system.exits import reports_to_launcher
from llmkit.system.files import parse_json, read_text
from llmkit.system.processes import from_first, start_group
from llmkit.system.run_folder import RunDir, hold, open_run
from llmkit.tasks import task_named
from llmkit.training.finite import NotFinite
from llmkit.training.held_out import HeldOut

RECORD = "search.json"
MOST_JOBS = 16  # to prepare before the first trial, in order to check combinations
Recipe = PretrainRecipe | FinetuneRecipe

_OTHER_DATA = "scores on other data do not compare"
NOT_SEARCHED = {
    "name": "it changes nothing about a run",
    "task": "scores of other tasks do not compare",
    "train.seed": "the best of several seeds is luck; give the best recipe several, with llmkit finetune --seeds",
    **dict.fromkeys(("data.path", "data.name", "data.revision", "data.validation", "data.test"), _OTHER_DATA),
    "data.max_samples": _OTHER_DATA,
    **dict.fromkeys(("corpus.path", "corpus.sources", "corpus.tokenizer", "corpus.eval_mlm_probability"), _OTHER_DATA),
}


@dataclass(frozen=True)
class Search:
    """A search, checked and ready to start or to go on.

    `read` reads the recipe with overrides, and `first` is the recipe at the lower ends of the ranges. `metric` is the
    score of a trial, which is better if it is higher where `maximize` is set.
    """

    space: Space
    read: Callable[[Sequence[str]], Recipe]
    first: Recipe
    folder: Path
    trials: int
    auto_batch: bool
    metric: str
    maximize: bool
    read_data: ReadOnce = field(default_factory=ReadOnce)

    @property
    def record(self) -> dict[str, Any]:
        """The content of search.json."""
        given = {one.key: one.text.partition("=")[2] for one in self.space}
        recipe = yaml.safe_load(dump(self.first))
        return {"space": given, "recipe": recipe, "metric": self.metric, "maximize": self.maximize}

    def job(self, values: Mapping[str, Any], path: Path, processes: int | None = None) -> Job:
        """The job of a trial. Raises UserError."""
        recipe = self.read([override(key, value) for key, value in values.items()])
        batch = self.auto_batch
        if isinstance(recipe, PretrainRecipe):
            return pretrain.prepare(recipe, path, resume=True, auto_batch=batch, processes=processes)
        return finetune.prepare(recipe, path, resume=True, auto_batch=batch, processes=processes, read=self.read_data)


def prepare(
    task: str | None,
    recipe: str | None,
    overrides: Sequence[str],
    output: Path | None,
    trials: int,
    *,
    resume: bool,
    auto_batch: bool,
    processes: int,
) -> Search:
    """Check the space, the folder, and all models and data that the trials will use. `processes` will train.

    Raises UserError; writes only to the cache.
    """
    check_installed()
    space, others = space_of(overrides)
    if not space:
        raise UserError(
            "nothing to search: no key has a range or several values",
            remedy="give one, such as train.learning_rate=1e-5..1e-3 or train.per_device_train_batch_size=16,32",
        )
    read = _reader(task, recipe, others)
    space = checked(space, read)
    problems = [f"{one.key} is not searched: {why}" for one in space if (why := _not_searched(one.key))]
    if problems:
        raise UserError(*problems, remedy="give it one value, or leave it to the recipe")
    if trials > (most := combinations(space)):
        raise UserError(
            f"{trials} trials, and only {most:.0f} combinations of values",
            remedy=f"try all of them: --trials {most:.0f}",
        )
    first = read([override(one.key, one.ends[0]) for one in space])
    folder = output or Path("searches") / first.name
    search = Search(space, read, first, folder, trials, auto_batch, *_measure(first))
    if not _goes_on(search, resume=resume) and not reports_to_launcher():  # whose process has checked the jobs
        _check_jobs(search, processes)
    return search


def _reader(task: str | None, recipe: str | None, others: Sequence[str]) -> Callable[[Sequence[str]], Recipe]:
    """A function that reads the recipe with more overrides. The recipe says which kind it is."""
    if task is None and recipe is not None and kind_of(locate(recipe)) is PretrainRecipe:
        return lambda more: read_recipe(PretrainRecipe, recipe, [*others, *more])
    return lambda more: finetune.recipe_of(task, recipe, [*others, *more])


def _not_searched(key: str) -> str:
    parts = key.split(".")
    return next((NOT_SEARCHED[".".join(parts[:n])] for n in (1, 2) if ".".join(parts[:n]) in NOT_SEARCHED), "")


def _measure(recipe: Recipe) -> tuple[str, bool]:
    """The score of trials, and whether higher is better."""
    if isinstance(recipe, PretrainRecipe):
        return HeldOut.metric, HeldOut.higher_is_better
    return task_named(recipe.task).metric, finetune.Validation.higher_is_better


def _goes_on(search: Search, *, resume: bool) -> bool:
    """Whether the folder holds this search. Raises UserError if it holds another one, or something else."""
    path = search.folder / RECORD
    if not path.is_file():
        if RunDir(search.folder).started:
            raise UserError(f"{search.folder} holds a run", remedy="choose another folder with -o")
        open_run(search.folder, resume=False)
        return False
    if not resume:
        raise UserError(
            f"{search.folder} is in use", remedy="resume its search with --resume, or choose another with -o"
        )
    before = parse_json(read_text(path), path)
    with suppress(ValidationError):  # a recipe that is no longer valid is compared as it is
        before["recipe"] = yaml.safe_load(dump(type(search.first).model_validate(before["recipe"])))
    if different := differences(before, search.record):
        raise UserError(
            f"{search.folder} was started with another search: {'; '.join(different)}",
            remedy="give its own ranges and recipe, or choose another folder with -o",
        )
    return True


def _check_jobs(search: Search, processes: int) -> None:
    """Prepare jobs with the ends and values that decide about models and data. Raises UserError with all problems."""
    problems: dict[str, None] = {}
    remedy = ""
    first = {one.key: one.ends[0] for one in search.space}
    decisive = [one for one in search.space if not one.key.startswith("train.")]
    for values in ends_of(decisive, MOST_JOBS):
        try:
            search.job({**first, **values}, search.folder, processes)
        except UserError as error:
            problems |= dict.fromkeys(error.problems)
            remedy = error.remedy
    if problems:
        raise UserError(*problems, remedy=remedy)


def dry_run(search: Search) -> None:
    """Estimate what the trials that are left take, none given up early. Writes nothing."""
    left = search.trials - sum(trial.state != "running" for trial in read_trials(search.folder))
    if left <= 0:
        return say("all trials are done: nothing is left to do")
    first = {one.key: one.ends[0] for one in search.space}
    try_job(search.job(first, run_of(search.folder, search.trials + 1).path), left)


def train(search: Search) -> dict[str, Any]:
    """Run the trials that are left, one after another. Returns the summary, on the first process."""
    if 0.5 <= search.first.train.eval_steps < 1:
        say("a trial can end early only half-way; with train.eval_steps=0.1 it is evaluated ten times")
    start_group()  # all processes ask the first one what to try
    with hold(RunDir(search.folder)):
        if is_main():
            RunDir(search.folder).write_json(RECORD, search.record)
        runs = InSeries(search.folder)
        while (trial := from_first(_next(search) if is_main() else None)).number <= search.trials:
            _run(search, trial, runs)
        return summary(search.folder, search.metric, maximize=search.maximize) if is_main() else {}


def _next(search: Search) -> Trial:
    """The trial that was begun, or a new one, which is recorded; or one too many."""
    trials = read_trials(search.folder)
    if trials and trials[-1].state == "running":
        return trials[-1]
    number = len(trials) + 1
    if number > search.trials:
        return Trial(number, {})
    seed = search.first.train.seed
    trial = Trial(number, next_values(search.space, trials, maximize=search.maximize, seed=seed))
    write_trials(search.folder, [*trials, trial])
    return trial


def _run(search: Search, trial: Trial, runs: InSeries) -> None:
    """Run a trial to its end, and record what came of it."""
    trials, run = read_trials(search.folder), run_of(search.folder, trial.number)
    state: State = "finished"
    if not from_first(run.finished if is_main() else None):  # by a command that was killed before it recorded this
        values = "  ".join(f"{key}={value}" for key, value in trial.values.items())
        say(f"trial {trial.number} of {search.trials}: {values}")

        def hopeless() -> bool:
            scores = [score for _, score in evaluations_of(run, search.metric)]
            return falls_behind(search.space, trials, scores, maximize=search.maximize)

        state = _ended(runs, lambda: replace(search.job(trial.values, run.path), hopeless=hopeless))
    if is_main():
        evaluations = evaluations_of(run, search.metric)
        score = json.loads((run.path / "metrics.json").read_text())[search.metric] if state == "finished" else None
        done = replace(trial, state=state, score=score, evaluations=evaluations)
        trials = [*trials[: trial.number - 1], done]
        write_trials(search.folder, trials)
        write_best(search.folder, trials, search.metric, maximize=search.maximize)
        say(f"trial {trial.number} of {search.trials}: {told(done, trials, search.metric, maximize=search.maximize)}")


def _ended(runs: InSeries, job: Callable[[], Job]) -> State:
    try:
        runs.train(job)
    except EndedEarly:
        return "pruned"
    except NotFinite as error:
        say(error.problems[0])
        return "diverged"
    return "finished"
