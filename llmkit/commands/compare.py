"""`llmkit compare`: which of several systems is better on the same examples, and could it be chance?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from string import ascii_uppercase
from typing import Any

from llmkit.evidence.comparison import Comparison, Pair, Score, compare
from llmkit.evidence.systems import System, check_scored_on, recipe_differences, system_named
from llmkit.recipes.finetuning import DataSection
from llmkit.system.console import say, table
from llmkit.system.errors import UserError
from llmkit.system.machine import quiet
from llmkit.tasks import task_named
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_columns, load_examples
from llmkit.tasks.features import examples_fingerprint
from llmkit.tasks.predictions import of_examples, read_predictions
from llmkit.tasks.score_tables import interval_text
from llmkit.tasks.settings import data_origin, overridden
from llmkit.tasks.user_tasks import check_tasks_file
from llmkit.tasks.values import Prediction

UNKNOWN = "predictions files name neither their task nor their data"
SHOWN = 60  # characters of a value in the table of recipe keys


@dataclass(frozen=True)
class Prepared:
    """Systems, the examples that all of them predicted, and the predictions of their runs."""

    systems: list[System]
    task: Task[Any]
    data: DataSection
    examples: Any
    predictions: dict[str, list[list[Prediction]]]


def prepare(
    names: Sequence[str], task: str | None, data: str | None, split: str, overrides: Sequence[str] = ()
) -> Prepared:
    """Read predictions, and the examples that they are for: those of the first run, if `data` is None.

    Raises UserError if there are fewer than two systems, or if they did not predict the same examples.
    """
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise UserError("nothing to compare", remedy="give at least two different systems: runs or predictions files")
    return read(names, task, data, split, overrides)


def read(
    names: Sequence[str], task: str | None, data: str | None, split: str, overrides: Sequence[str] = ()
) -> Prepared:
    """As `prepare`, also for one system alone."""
    quiet()
    systems = [system_named(name) for name in names]
    chosen = _task(systems, task)
    section = overridden(_data(systems, chosen, data), overrides)
    examples = _examples(systems, chosen, section, data, split)
    chosen.check_scores(examples, section)
    where, ids = data or f"the data of {_first_run(systems).name}", examples["id"][:]
    predictions = {
        system.name: [
            of_examples(read_predictions(file), ids, file=file, data=where, items=f"{chosen.item}s")
            for file in system.files
        ]
        for system in systems
    }
    return Prepared(systems, chosen, section, examples, predictions)


def _first_run(systems: Sequence[System]) -> System:
    """The first system that has a recipe. Raises UserError if there is none."""
    for system in systems:
        if system.recipe is not None:
            return system
    raise UserError(UNKNOWN, remedy="give both: --task squad --data FILE")


def _task(systems: Sequence[System], task: str | None) -> Task[Any]:
    """The task to score by: that of the runs, unless the user names one."""
    found: dict[str, str] = {}
    for system in systems:
        if system.recipe is not None:
            if "task" not in system.recipe:
                raise UserError(f"{system.name} is a pretraining run", remedy="compare fine-tuned runs")
            check_tasks_file(system.runs[0], system.recipe["task"])
            found.setdefault(system.recipe["task"], system.name)
    if task is not None:
        return task_named(task)
    if len(found) > 1:
        its = " and ".join(f"{name} is for {of}" for of, name in found.items())
        raise UserError(its, remedy="say by which task to score them: --task")
    recipe = _first_run(systems).recipe
    assert recipe is not None
    return task_named(recipe["task"])


def _data(systems: Sequence[System], task: Task[Any], data: str | None) -> DataSection:
    """The data to score on: the user's, or that of the first run."""
    if data is not None:
        return task.data_class(**data_origin(data, task))
    recipe = _first_run(systems).recipe
    assert recipe is not None
    return task.data_class(**recipe["data"])


def _examples(systems: Sequence[System], task: Task[Any], section: DataSection, data: str | None, split: str) -> Any:
    """The examples. Raises UserError if a run was scored on others: equal ids do not make equal examples."""
    runs = [run for system in systems for run in system.runs]
    if not runs:
        return load_columns(task, section, split)
    examples = load_examples(task, section, [split])[split]
    fingerprint = examples_fingerprint(examples)
    where = data or f"those of {_first_run(systems).name} as they are now"
    for run in runs:
        remedy = f"score it on them, with `llmkit eval {run.path} --data PATH -o FOLDER`, and compare FOLDER"
        check_scored_on(run, fingerprint, where, remedy)
    return examples


def run(prepared: Prepared) -> Comparison:
    """Compare the systems."""
    return compare(prepared.task, prepared.predictions, prepared.examples, prepared.data)


def as_json(prepared: Prepared, found: Comparison) -> dict[str, Any]:
    """A comparison as plain values."""
    return {
        "task": prepared.task.name,
        "examples": found.examples,
        "systems": {system.name: [str(file) for file in system.files] for system in prepared.systems},
        "scores": {name: {score: asdict(of) for score, of in scores.items()} for name, scores in found.scores.items()},
        "pairs": [_pair_as_json(pair) for pair in found.pairs],
        "answered": [asdict(of) for of in found.answered],
        "recipe": recipe_differences(prepared.systems),
    }


def _pair_as_json(pair: Pair) -> dict[str, Any]:
    bootstrap, randomization = pair.holm
    corrected = {"bootstrap_holm": bootstrap, "randomization_holm": randomization}
    return {"first": pair.first, "second": pair.second, "score": pair.score, **asdict(pair.difference), **corrected}


def show(prepared: Prepared, found: Comparison) -> None:
    """Print a comparison as tables, in which systems are letters: their names may be long."""
    letters = dict(zip(found.scores, _letters(), strict=False))
    several = any(len(system.files) > 1 for system in prepared.systems)
    unit = f"{prepared.task.score_unit}, with 95 % intervals"
    table(
        ["", "system", *([">runs"] if several else []), *next(iter(found.scores.values()))],
        [
            [letters[system.name], system.name, *([str(len(system.files))] if several else []), *map(_score, scores)]
            for system, scores in ((system, found.scores[system.name].values()) for system in prepared.systems)
        ],
        title=f"{found.examples:,} {prepared.task.item}s, {unit}",
    )
    corrected = len(letters) > 2
    holm = [">bootstrap, Holm", ">randomization, Holm"] if corrected else []
    table(
        ["", "score", ">difference", "95 % interval", ">p, bootstrap", ">p, randomization", *holm],
        (_pair(pair, letters, corrected=corrected) for pair in found.pairs),
        title="\nDifferences",
    )
    if found.answered:
        table(
            ["", ">both", ">first only", ">second only", ">none"],
            (
                [f"{letters[of.first]}, {letters[of.second]}", *(f"{share:.1%}" for share in shares)]
                for of in found.answered
                for shares in [(of.both, of.only_first, of.only_second, of.none)]
            ),
            title=f"\nWho answers what: shares of the {prepared.task.item}s",
        )
    if keys := recipe_differences(prepared.systems):
        names = list(next(iter(keys.values())))
        table(
            ["", *(letters[name] for name in names)],
            ([key, *(_short(values[name]) for name in names)] for key, values in keys.items()),
            title="\nRecipe keys that differ",
        )
    say(_note(several=several))


def _letters() -> Iterator[str]:
    """A, B, …, Z, A2, B2, …"""
    for turn in count(1):
        yield from (f"{letter}{turn if turn > 1 else ''}" for letter in ascii_uppercase)


def _note(*, several: bool) -> str:
    """What one must know to read the tables."""
    if several:
        return "Intervals and p-values are over examples, for these runs. ± is the standard deviation over runs."
    return "Intervals and p-values are over examples. What another seed would change, only more runs can show."


def _score(score: Score) -> str:
    deviation = f" ± {score.deviation:.2f}" if score.deviation is not None else ""
    return f"{score.value:.2f}{deviation}" + (f" ({interval_text(score.interval)})" if score.interval else "")


def _pair(pair: Pair, letters: Mapping[str, str], *, corrected: bool) -> list[str]:
    found = pair.difference
    p_values = [found.bootstrap, found.randomization, *(pair.holm if corrected else ())]
    value, interval = f"{found.value:+.2f}", interval_text(found.interval)
    return [f"{letters[pair.first]} − {letters[pair.second]}", pair.score, value, interval, *map(_p_value, p_values)]


def _p_value(p: float | None) -> str:
    return "" if p is None else f"{p:.4f}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
