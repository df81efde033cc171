"""Overrides with a range or several values, `train.learning_rate=1e-5..1e-3`: the space that a search looks through.

An override is a range if two numbers are joined by `..`. A comma outside brackets and quotes separates several values.
Everything else is one value, as in every override. What kind of numbers a range consists of, the recipe says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import yaml

from llmkit.recipes.reading import parse_value
from llmkit.system.errors import UserError

Value = Any  # what a key of a recipe takes, as in JSON

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"  # not `.5`: with three dots it would be a guess where one begins
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
LOG_FROM = 10  # times its lower end: a range that goes so far is searched by orders of magnitude
_DIGITS = 3  # of a number that is tried
_WITHIN = (0.381966, 0.97)  # where in a range it is looked whether a key takes numbers that are not whole
_MOST_TOGETHER = 256  # combinations of ends and values to check


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; `text` is the override as it was given."""

    text: str
    key: str
    low: float
    high: float
    whole: bool = False

    @property
    def log(self) -> bool:
        """Whether orders of magnitude are as likely as one another, not numbers."""
        return self.low > 0 and self.high >= LOG_FROM * self.low

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check before a search."""
        return (self.low, self.high)

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.whole else math.inf

    def at(self, share: float) -> Value:
        """The number at a share of the range, from 0 to below 1."""
        high = self.high + 1 if self.whole else self.high
        number = self.low * (high / self.low) ** share if self.log else self.low + share * (high - self.low)
        return self.rounded(number)

    def rounded(self, number: float) -> Value:
        """A number of the range: a whole one, or with few digits."""
        few = math.floor(number) if self.whole else float(f"{number:.{_DIGITS}g}")
        return min(max(few, self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """Several values, in no order; `text` is the override as it was given."""

    text: str
    key: str
    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check before a search."""
        return self.values

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)

    def at(self, share: float) -> Value:
        """The value at a share of the list, from 0 to below 1."""
        return self.values[int(share * len(self.values))]


Space = Sequence[Range | Choice]


def override(key: str, value: Value) -> str:
    """A value as an override."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def space_of(overrides: Sequence[str]) -> tuple[list[Range | Choice], list[str]]:
    """The ranges and choices among overrides, and the other ones. Raises UserError with all problems."""
    space: list[Range | Choice] = []
    others, problems = [], []
    for text in overrides:
        key, _, value = text.partition("=")
        one = _range(text, key.strip(), value.strip()) or _choice(text, key.strip(), value)
        if one is None:
            others.append(text)
            continue
        space.append(one)
        if isinstance(one, Range) and one.low >= one.high:
            problems.append(f"override {text}: not a range: its lower end comes first")
        if isinstance(one, Choice) and len({json.dumps(value) for value in one.values}) < len(one.values):
            problems.append(f"override {text}: a value is given twice")
    keys = [text.partition("=")[0].strip() for text in overrides]
    problems += [f"{one.key}: given twice" for one in space if keys.count(one.key) > 1]
    if problems:
        raise UserError(
            *dict.fromkeys(problems), remedy="write a range as LOW..HIGH, several values with commas: A,B,C"
        )
    return space, others


def _range(text: str, key: str, value: str) -> Range | None:
    if found := _RANGE.fullmatch(value):
        return Range(text, key, parse_value(found[1]), parse_value(found[2]))
    return None


def _choice(text: str, key: str, value: str) -> Choice | None:
    try:
        values = parse_value(f"[{value}]")
    except yaml.YAMLError:
        return None
    return Choice(text, key, tuple(values)) if isinstance(values, list) and len(values) > 1 else None


def checked(space: Space, read: Callable[[Sequence[str]], object]) -> list[Range | Choice]:
    """The same space, where ranges know whether they are of whole numbers. `read` reads the recipe with overrides.

    Raises UserError if the recipe refuses an end of a range or a value, with all such problems.
    """
    problems: dict[str, None] = {}
    remedy = ""
    for values in ends_of(space, _MOST_TOGETHER):
        try:
            read([override(key, value) for key, value in values.items()])
        except UserError as error:
            problems |= dict.fromkeys(_as_given(problem, space, values) for problem in error.problems)
            remedy = error.remedy
    if problems:
        raise UserError(*problems, remedy=remedy)
    first = {one.key: one.ends[0] for one in space}
    return [_typed(one, first, read) if isinstance(one, Range) else one for one in space]


def _as_given(problem: str, space: Space, values: Mapping[str, Value]) -> str:
    """A problem with these values, in which the overrides are the user's."""
    for one in space:
        problem = problem.replace(f"override {override(one.key, values[one.key])}:", f"override {one.text}:")
    return problem


def ends_of(space: Space, most: int) -> Iterator[Mapping[str, Value]]:
    """All combinations of ends and values if they are at most so many, or else those with one key changed at a time."""
    if math.prod(len(one.ends) for one in space) <= most:
        for values in product(*(one.ends for one in space)):
            yield dict(zip((one.key for one in space), values, strict=True))
        return
    first = {one.key: one.ends[0] for one in space}
    yield first
    for one in space:
        yield from ({**first, one.key: value} for value in one.ends[1:])


def _typed(found: Range, first: Mapping[str, Value], read: Callable[[Sequence[str]], object]) -> Range:
    """The range, of whole numbers if the recipe refuses others within it."""
    try:
        for share in _WITHIN:
            number = found.low + share * (found.high - found.low)
            number += 0.01 * number.is_integer()
            read([override(key, value) for key, value in {**first, found.key: number}.items()])
    except UserError:
        if not (isinstance(found.low, int) and isinstance(found.high, int)):
            raise UserError(
                f"{found.key}: some numbers between {found.low} and {found.high} are refused",
                remedy=f"list values instead: {found.key}={found.low},{found.high}",
            ) from None
        return replace(found, whole=True)
    return replace(found, low=float(found.low), high=float(found.high))


def combinations(space: Space) -> float:
    """How many combinations of values a space has; infinite with a range of numbers that are not whole."""
    return math.prod(one.size for one in space)


def every_combination(space: Space) -> Iterator[dict[str, Value]]:
    """All combinations of a space that has only some."""
    values = (
        one.values if isinstance(one, Choice) else range(int(one.low), int(one.high) + 1)  # of whole numbers
        for one in space
    )
    for found in product(*values):
        yield dict(zip((one.key for one in space), found, strict=True))
