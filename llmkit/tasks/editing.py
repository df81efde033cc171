"""Texts of examples with parts of them replaced, and where each place is then: answers and tags follow their text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

Place = tuple[int, int]  # characters [start, end) of a text


class Replacement(NamedTuple):
    """The characters [start, end) of a text become `text`. It is an insertion if they are none."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Edited:
    """A text with replacements, which are in order and share no character. Raises ValueError if they are not."""

    before: str
    replacements: tuple[Replacement, ...]

    @classmethod
    def of(cls, text: str, replacements: Iterable[Replacement]) -> Edited:
        """The text with replacements in any order; those that change nothing are left out."""
        changing = (each for each in replacements if text[each.start : each.end] != each.text)
        return cls(text, tuple(sorted(changing, key=lambda each: each[:2])))

    def __post_init__(self) -> None:
        ends = [0, *(end for each in self.replacements for end in each[:2]), len(self.before)]
        if any(first > second for first, second in pairwise(ends)):
            raise ValueError(f"replacements are not in order, or overlap: {self.replacements}")

    @cached_property
    def text(self) -> str:
        """The text with everything replaced."""
        parts, done = [], 0
        for start, end, new in self.replacements:
            parts += [self.before[done:start], new]
            done = end
        return "".join([*parts, self.before[done:]])

    def place(self, start: int, end: int) -> Place:
        """Where the characters [start, end) are now, the end exclusive.

        What is inserted at either end stays outside. A place that begins or ends inside a replacement is widened to all
        of it, unless the new text is as long as the old one: then each character stands for one.
        """
        for begin, stop, new in self.replacements:
            if len(new) != stop - begin:
                start = begin if begin < start < stop else start
                end = stop if begin < end < stop else end
        # An insertion goes before what begins at it, and after what ends at it.
        opens = start + self._longer(each for each in self.replacements if each.end <= start)
        closes = end + self._longer(each for each in self.replacements if each.end <= end and each.start < end)
        return opens, max(opens, closes)

    @staticmethod
    def _longer(replacements: Iterable[Replacement]) -> int:
        return sum(len(new) - (stop - begin) for begin, stop, new in replacements)


Changes = Mapping[str, Sequence[Replacement]]  # the replacements in each text of an example, by the text's name


@dataclass(frozen=True)
class Texts:
    """The texts of an example, by name, for edits that leave its gold answer what it is.

    inputs      what the model reads
    kept        places of inputs that an edit may not cut or drop: an answer
    gold        a gold answer that is a text of its own: names and numbers that are swapped in inputs are swapped in it
    translated  whether it is in another language, where words have other forms
    """

    inputs: Mapping[str, str]
    kept: Mapping[str, Sequence[Place]] = field(default_factory=dict)
    gold: Mapping[str, str] = field(default_factory=dict)
    translated: bool = False

    def edited(self, changes: Changes) -> dict[str, Edited]:
        """The texts that change, by name; none if no input does."""
        texts = {**self.gold, **self.inputs}
        found = {name: Edited.of(texts[name], replacements) for name, replacements in changes.items()}
        found = {name: edited for name, edited in found.items() if edited.replacements}
        return found if found.keys() & self.inputs.keys() else {}
