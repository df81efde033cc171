"""Compare systems on the same examples: their scores, the differences of each pair, and who answers what."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

import numpy as np

from llmkit.evidence.paired import Difference, difference, holm
from llmkit.tasks.base import Task
from llmkit.tasks.bootstrap import interval
from llmkit.tasks.measures import Measure
from llmkit.tasks.values import Array, Prediction


@dataclass(frozen=True)
class Score:
    """A score of a system. With several runs, `value` is their mean, and `deviation` the standard deviation.

    `interval` is the 95 % interval of `value`, over examples.
    """

    value: float
    interval: list[float] | None
    runs: list[float]
    deviation: float | None


@dataclass(frozen=True)
class Pair:
    """How much the first system's score is above the second's. `holm` has the p-values of `difference`, corrected for
    all pairs of the comparison: of the bootstrap, and of randomization."""

    first: str
    second: str
    score: str
    difference: Difference
    holm: tuple[float | None, float | None]


@dataclass(frozen=True)
class Answered:
    """The shares of examples that both systems answer right, that one does, and that none does; they add up to 1.

    With several runs of a system, the means over pairs of runs.
    """

    first: str
    second: str
    both: float
    only_first: float
    only_second: float
    none: float


@dataclass(frozen=True)
class Comparison:
    """`scores` are by system and name. `answered` is empty for answers that cannot be right or wrong."""

    examples: int
    scores: dict[str, dict[str, Score]]
    pairs: list[Pair]
    answered: list[Answered]


def compare(
    task: Task[Any], predictions: Mapping[str, Sequence[Sequence[Prediction]]], examples: Any, data: Any
) -> Comparison:
    """Compare systems by the headline scores of a task. `predictions` are by system, one sequence for each run."""
    measured = {system: [task.measures(run, examples, data) for run in runs] for system, runs in predictions.items()}
    first = next(iter(measured.values()))[0]
    names = [name for name in task.headline if name in first]
    scores: dict[str, dict[str, Score]] = {system: {} for system in measured}
    pairs: list[Pair] = []
    for name in names:
        groups = first[name].groups
        means = {}
        for system, runs in measured.items():
            each = [run[name].measure for run in runs]
            means[system] = mean_of_runs(each)
            scores[system][name] = score_of_runs(each, means[system], groups)
        pairs += _pairs(name, means, groups)
    return Comparison(len(examples["id"]), scores, pairs, _answered(task, predictions, examples, data))


def mean_of_runs(measures: Sequence[Measure]) -> Measure:
    """The mean of the scores of several runs."""
    share = 1 / len(measures)
    return reduce(lambda mean, other: mean.beside(other, share), measures[1:], measures[0].times(share))


def score_of_runs(runs: Sequence[Measure], mean: Measure, groups: Sequence[Hashable]) -> Score:
    """The mean score of several runs, and what it is made of. `mean` is their measure, and `groups` its groups."""
    all_once = np.ones((1, len(groups)))
    values = [float(run.at(all_once)[0]) for run in runs]
    return Score(fmean(values), interval(mean, groups), values, stdev(values) if len(values) > 1 else None)


def _pairs(name: str, means: Mapping[str, Measure], groups: Sequence[Hashable]) -> list[Pair]:
    pairs = list(combinations(means, 2))
    found = [difference(means[first], means[second], groups) for first, second in pairs]
    bootstraps = corrected([each.bootstrap for each in found])
    randomizations = corrected([each.randomization for each in found])
    return [
        Pair(*pair, name, each, both)
        for pair, each, both in zip(pairs, found, zip(bootstraps, randomizations, strict=True), strict=True)
    ]


def corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction of those that are known."""
    known = iter(holm([p for p in p_values if p is not None]))
    return [next(known) if p is not None else None for p in p_values]


def _answered(
    task: Task[Any], predictions: Mapping[str, Sequence[Sequence[Prediction]]], examples: Any, data: Any
) -> list[Answered]:
    shares: dict[str, Array] = {}  # of the runs of a system that answer an example right, [examples]
    for system, runs in predictions.items():
        correct = [task.correct(run, examples, data) for run in runs]
        if any(each is None for each in correct):
            return []
        shares[system] = np.mean([each for each in correct if each is not None], axis=0)
    return [
        Answered(a, b, *(float(np.mean(part)) for part in _parts(shares[a], shares[b])))
        for a, b in combinations(shares, 2)
    ]


def _parts(a: Array, b: Array) -> tuple[Array, ...]:
    return a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)
