"""Is a confidence what it claims? Of answers with a confidence of 0.8, eight of ten should be right.

Expected calibration error (Naeini et al. 2015, Guo et al. 2017), Brier score (1950), the risk-coverage curve and the
area under it (Geifman and El-Yaniv 2017), and temperature scaling (Guo et al. 2017).
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmkit.tasks.bootstrap import interval, percent_interval
from llmkit.tasks.measures import Measure, Pairs, Sums, mean_of
from llmkit.tasks.review import Claims
from llmkit.tasks.values import Array

BINS = 15  # of equal width, as in Guo et al.
LEAST = 10  # right and wrong rows in a half that a temperature is fitted on
SIMULATED = 200  # models whose confidence is exactly right
MOST_FOR_AREA = 20_000  # rows, above which resampled areas would take too much time and memory
_TINY = 1e-12  # a probability of 0 has no logarithm


@dataclass(frozen=True)
class Value:
    """A number and its 95 % interval, which is None if there is only one group."""

    value: float
    interval: list[float] | None


@dataclass(frozen=True)
class Bin:
    """The rows with a confidence in an interval: their mean confidence, and how many of them are right, in percent."""

    rows: int
    confidence: float
    right: float
    interval: list[float] | None


@dataclass(frozen=True)
class Scores:
    """How good confidences are; all but the Brier score are in percent.

    error   expected calibration error
    excess  the mean confidence minus the share of right rows: above 0 if the model is too sure
    brier   mean squared difference between confidence and being right, from 0 to 1
    area    under the risk-coverage curve: the mean share of errors among the surest rows, over all coverages
    """

    error: Value
    excess: Value
    brier: Value
    area: Value


@dataclass(frozen=True)
class Temperature:
    """A temperature fitted on one half of the groups, and the scores of the other half without and with it."""

    value: float
    fitted_on: int
    reported_on: int
    before: Scores
    after: Scores


@dataclass(frozen=True)
class Calibration:
    """All of it, for one set of claims.

    error_by_chance  the expected calibration error of a model whose confidences are exactly right, on as many rows
    area_at_random   the area if errors came at any confidence: the share of errors, in percent
    area_at_best     the area if all errors came last
    coverage, risk   the curve, in percent: the share of errors among the surest rows
    temperature      None if a half has too few right or wrong rows, or there is only one group
    """

    claims: Claims
    scores: Scores
    bins: Sequence[Bin]
    error_by_chance: float
    area_at_random: float
    area_at_best: float
    coverage: Array
    risk: Array
    temperature: Temperature | None


def calibration(claims: Claims) -> Calibration | None:
    """None if there are no claims, or all confidences are the same, as in a file without any."""
    if not len(claims.right) or np.ptp(claims.confidence) == 0:
        return None
    best = claims.right + np.linspace(0, 0.5, len(claims.right))  # all that is right first, one after the other
    coverage, risk = _curve(claims)
    return Calibration(
        claims,
        scores(claims),
        bins(claims),
        _error_by_chance(claims.confidence),
        100 * float(1 - claims.right.mean()),
        _value(_area_measure(replace(claims, confidence=best)), len(best)),
        coverage,
        risk,
        temperature(claims),
    )


def scores(claims: Claims) -> Scores:
    """The scores, with intervals over groups."""
    sure, right, groups = claims.confidence, claims.right, claims.groups
    area = _area_measure(claims)
    many = len(sure) > MOST_FOR_AREA
    return Scores(
        _error(sure, right, groups),
        _with_interval(mean_of(sure - right), groups),
        _with_interval(mean_of((sure - right) ** 2, 1), groups),
        Value(_value(area, len(sure)), None) if many else _with_interval(area, groups),
    )


def _with_interval(measure: Measure, groups: Sequence[Hashable]) -> Value:
    return Value(_value(measure, len(groups)), interval(measure, groups))


def _error(sure: Array, right: Array, groups: Sequence[Hashable]) -> Value:
    """The expected calibration error. Its interval is the bootstrap's turned around the value (the basic one).

    A mean of absolute values is too large on few rows, and on resamples of them once more, so the percentiles
    themselves would lie too high. Turned around, they may all lie below the value: then it is their upper end.
    """
    found = _with_interval(_error_measure(sure, right), groups)
    if found.interval is None:
        return found
    low, high = found.interval
    return Value(found.value, [max(0.0, 2 * found.value - high), max(found.value, 2 * found.value - low)])


def bins(claims: Claims) -> list[Bin]:
    """The bins that have rows."""
    number = _bin_of(claims.confidence)
    found = []
    for its in (np.flatnonzero(number == each) for each in np.unique(number)):
        right, groups = claims.right[its], [claims.groups[row] for row in its.tolist()]
        mean = 100 * float(claims.confidence[its].mean())
        found.append(Bin(len(its), mean, 100 * float(right.mean()), percent_interval(right, groups)))
    return found


def temperature(claims: Claims) -> Temperature | None:
    """See Temperature. The halves follow from a hash of the group, so they do not depend on the order."""
    half = np.array([hashlib.sha256(str(group).encode()).digest()[0] % 2 for group in claims.groups], bool)
    right = [int(claims.right[part].sum()) for part in (half, ~half)]
    wrong = [int((~claims.right[part]).sum()) for part in (half, ~half)]
    if min(*right, *wrong) < LEAST:
        return None
    found = fitted(_part(claims, ~half))
    reported = _part(claims, half)
    after = replace(reported, confidence=at_temperature(reported, found))
    return Temperature(found, int((~half).sum()), int(half.sum()), scores(reported), scores(after))


def fitted(claims: Claims) -> float:
    """The temperature with the least log loss, of whether each claim is right."""
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        sure = np.clip(at_temperature(claims, float(np.exp(logarithm))), _TINY, 1 - _TINY)
        return -float(np.where(claims.right, np.log(sure), np.log1p(-sure)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def at_temperature(claims: Claims, value: float) -> Array:
    """The confidences if all logits were divided by a temperature, [rows].

    Logits are the logarithms of the probabilities, but for a constant. Where the other choices are not known, the
    confidence is taken for one of two.
    """
    choices = claims.choices
    if choices is None:
        choices = np.column_stack([claims.confidence, 1 - claims.confidence])
    with np.errstate(divide="ignore"):  # a choice with probability 0 keeps it
        logits = np.log(choices) / value
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Array = powers[:, 0] / powers.sum(axis=1)
    return found


def _part(claims: Claims, part: Array) -> Claims:
    return replace(
        claims,
        confidence=claims.confidence[part],
        right=claims.right[part],
        groups=[claims.groups[row] for row in np.flatnonzero(part).tolist()],
        choices=None if claims.choices is None else claims.choices[part],
    )


def _bin_of(confidence: Array) -> Array:
    found: Array = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return found


def _error_measure(sure: Array, right: Array) -> Measure:
    """Over bins: the share of rows, times how far the mean confidence is from the share of right ones."""
    counts = np.zeros((len(sure), BINS + 1))
    counts[np.arange(len(sure)), _bin_of(sure)] = sure - right
    counts[:, -1] = 1
    return Sums(counts, lambda sums: 100 * np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1])


def _area_measure(claims: Claims) -> Measure:
    return Pairs(claims.right.astype(np.float64), claims.confidence[:, None], _areas)


def _areas(right: Array, sure: Array, weights: Array) -> Array:
    """The area under the curve, [R], of weights [R, rows]. Rows of one confidence are covered together."""
    order = np.argsort(-sure, kind="stable")
    last = np.flatnonzero(np.append(np.diff(sure[order]) != 0, True))
    covered = np.cumsum(weights[:, order], axis=1)[:, last]
    errors = np.cumsum((weights * (1 - right))[:, order], axis=1)[:, last]
    risk = np.divide(errors, covered, out=np.zeros_like(errors), where=covered > 0)
    steps = np.diff(covered, axis=1, prepend=0)
    found: Array = 100 * (risk * steps).sum(axis=1) / covered[:, -1]
    return found


def _curve(claims: Claims) -> tuple[Array, Array]:
    order = np.argsort(-claims.confidence, kind="stable")
    last = np.flatnonzero(np.append(np.diff(claims.confidence[order]) != 0, True))
    number = np.arange(1, len(order) + 1)[last]
    return 100 * number / len(order), 100 * np.cumsum(~claims.right[order])[last] / number


def _error_by_chance(sure: Array) -> float:
    generator = np.random.default_rng(0)
    drawn = (generator.random(len(sure)) < sure for _ in range(SIMULATED))
    return float(np.mean([_value(_error_measure(sure, right), len(sure)) for right in drawn]))


def _value(measure: Measure, rows: int) -> float:
    return float(measure.at(np.ones((1, rows)))[0])
