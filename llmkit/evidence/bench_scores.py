"""What came of a bench: the scores of each model on each task, GLUE's mean, and the differences between models."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

import numpy as np

from llmkit.evidence import paired
from llmkit.evidence.bench_tasks import SUITE, Entry
from llmkit.evidence.comparison import Pair, Score, corrected, mean_of_runs, score_of_runs
from llmkit.evidence.paired import Difference, bootstrapped, difference
from llmkit.tasks import bootstrap
from llmkit.tasks.base import Task
from llmkit.tasks.bootstrap import resampled
from llmkit.tasks.measures import Measure
from llmkit.tasks.values import Array, Prediction

# Each part of GLUE's mean is resampled with a seed of its own: with one for all, tasks with as many examples, as in a
# quick bench, would be drawn alike, and their scores would go up and down together.
_SEEDS = {key: number for number, key in enumerate((entry.name, part) for entry in SUITE for part in entry.in_mean)}


@dataclass(frozen=True)
class Share:
    """A task's share of GLUE's mean: for the mean of a model's runs, and for each run. Or the difference of the shares
    of two models; `runs` is then empty. `drawn` are those of resamples, [R]; None if all examples are one group.
    """

    value: float
    runs: list[float]
    drawn: Array | None


@dataclass(frozen=True)
class Found:
    """What came of a task. `scores` are by model and name. `shares` are by model, and `gaps` by pair of models; both
    are empty for a task that is not in GLUE's mean."""

    entry: Entry
    examples: int
    scores: dict[str, dict[str, Score]]
    pairs: list[Pair]
    shares: dict[str, Share]
    gaps: dict[tuple[str, str], Share]


@dataclass(frozen=True)
class _Measured:
    """A score of the runs of a model, and of their mean."""

    runs: list[Measure]
    mean: Measure
    groups: Sequence[Hashable]

    def values(self) -> list[float]:
        """The score of each run."""
        return [float(run.at(np.ones((1, len(self.groups))))[0]) for run in self.runs]


def score(
    entry: Entry,
    task: Task[Any],
    predictions: Mapping[str, Sequence[Sequence[Prediction]]],
    examples: Any,
    data: Any,
) -> Found:
    """Score a task. `predictions` are by model, one sequence for each run."""
    wanted = dict.fromkeys((*entry.scores, entry.metric, *entry.in_mean))
    of: dict[str, dict[str, _Measured]] = {}
    for model, runs in predictions.items():
        measured = [task.measures(run, examples, data) for run in runs]
        of[model] = {}
        for name in wanted:
            each = [run[name].measure for run in measured]
            of[model][name] = _Measured(each, mean_of_runs(each), measured[0][name].groups)
    scores = {
        model: {name: score_of_runs(its[name].runs, its[name].mean, its[name].groups) for name in entry.scores}
        for model, its in of.items()
    }
    pairs, shares, gaps = [], {}, {}
    for a, b in combinations(of, 2):
        first, second = of[a][entry.metric], of[b][entry.metric]
        found = difference(first.mean, second.mean, first.groups)
        pairs.append(Pair(a, b, entry.metric, found, (None, None)))
    if entry.in_mean:
        shares = {model: _share(entry, its) for model, its in of.items()}
        gaps = {(a, b): _share(entry, of[a], of[b]) for a, b in combinations(of, 2)}
    return Found(entry, len(examples["id"]), scores, pairs, shares, gaps)


def _share(entry: Entry, its: Mapping[str, _Measured], other: Mapping[str, _Measured] | None = None) -> Share:
    """A model's share of GLUE's mean, or how much it is above another model's on the same resamples."""
    values, draws, resamples = [], [], bootstrap.RESAMPLES if other is None else paired.RESAMPLES
    for part in entry.in_mean:
        one = its[part]
        measure = one.mean if other is None else one.mean.beside(other[part].mean, -1.0)
        values.append(float(measure.at(np.ones((1, len(one.groups))))[0]))
        draws.append(resampled(measure, one.groups, resamples=resamples, seed=_SEEDS[entry.name, part]))
    known = [drawn for drawn in draws if drawn is not None]
    of_runs = zip(*(its[part].values() for part in entry.in_mean), strict=True) if other is None else ()
    runs = [fmean(parts) for parts in of_runs]
    return Share(fmean(values), runs, np.mean(known, axis=0) if len(known) == len(draws) else None)


def with_holm(found: Sequence[Found]) -> list[Found]:
    """The same, with the p-values of all tasks and pairs corrected together, after Holm."""
    pairs = [pair for one in found for pair in one.pairs]
    both = zip(
        corrected([pair.difference.bootstrap for pair in pairs]),
        corrected([pair.difference.randomization for pair in pairs]),
        strict=True,
    )
    done = iter([replace(pair, holm=p_values) for pair, p_values in zip(pairs, both, strict=True)])
    return [replace(one, pairs=[next(done) for _ in one.pairs]) for one in found]


def mean_score(found: Sequence[Found], model: str) -> Score | None:
    """The mean over the tasks of GLUE among those found, each with the same weight; None if there is none.

    Its interval is over examples, drawn within each task.
    """
    shares = [one.shares[model] for one in found if one.shares]
    if not shares:
        return None
    runs = [fmean(parts) for parts in zip(*(share.runs for share in shares), strict=True)]
    drawn = _mean_of_draws(shares)
    interval = None if drawn is None else [float(end) for end in np.quantile(drawn, (0.025, 0.975))]
    return Score(fmean(share.value for share in shares), interval, runs, stdev(runs) if len(runs) > 1 else None)


def mean_difference(found: Sequence[Found], first: str, second: str) -> Difference | None:
    """How much the first model's mean is above the second's; None if no task of GLUE is among those found."""
    gaps = [one.gaps[first, second] for one in found if one.gaps]
    if not gaps:
        return None
    value, drawn = fmean(gap.value for gap in gaps), _mean_of_draws(gaps)
    return Difference(value) if drawn is None else bootstrapped(value, drawn)


def _mean_of_draws(shares: Sequence[Share]) -> Array | None:
    draws = [share.drawn for share in shares if share.drawn is not None]
    return np.mean(draws, axis=0) if len(draws) == len(shares) else None
