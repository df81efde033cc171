"""The score that an audit compares, and differences of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from llmkit.evidence.paired import Difference, difference
from llmkit.tasks.base import Task
from llmkit.tasks.measures import Measure, Measured
from llmkit.tasks.values import Prediction

RESAMPLES = 2000  # fewer than `compare` draws: an audit has dozens of differences
_DECIMALS = 9  # beyond these is rounding


def score_name(task: Task[Any], predictions: Sequence[Prediction], examples: Any, data: Any) -> str:
    """The score that selects checkpoints, or else the first of the headline that can be resampled."""
    found = task.measures(predictions, examples, data)
    return next(name for name in (task.metric, *task.headline, *found) if name in found)


def measured(task: Task[Any], name: str, predictions: Sequence[Prediction], examples: Any, data: Any) -> Measured:
    """A score of predictions as a measure."""
    return task.measures(predictions, examples, data)[name]


def value(measure: Measure, groups: Sequence[Hashable]) -> float:
    """A score of all examples."""
    return _settled(float(measure.at(np.ones((1, len(groups))))[0]))


def compared(first: Measure, second: Measure, groups: Sequence[Hashable], resamples: int = RESAMPLES) -> Difference:
    """How much the first score is above the second."""
    found = difference(first, second, groups, resamples=resamples)
    ends = [_settled(end) for end in found.interval] if found.interval else None
    return Difference(_settled(found.value), ends, found.bootstrap, found.randomization)


def reversed_of(found: Difference) -> Difference:
    """The second score minus the first."""
    ends = [_settled(-end) for end in reversed(found.interval)] if found.interval else None
    return Difference(_settled(-found.value), ends, found.bootstrap, found.randomization)


def _settled(number: float) -> float:
    """Without what rounding left, and without a negative zero."""
    return round(number, _DECIMALS) + 0.0
