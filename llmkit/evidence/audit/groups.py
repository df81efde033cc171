"""The groups of people that fairness compares, and how a text is changed to speak of one of them, or be by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmkit.evidence.audit import people
from llmkit.evidence.audit.drawing import Draw, one_of, stream
from llmkit.evidence.audit.word_lists import FIRST_NAMES, GENDERS, OF_NAME, ORIGINS
from llmkit.tasks.editing import Changes, Edited, Replacement, Texts

Change = Callable[[Texts, Draw], Changes]

TEXT = "text"  # the only input of examples that can be by somebody: a review, a message


@dataclass(frozen=True)
class Trait:
    """What groups differ in, and how texts are changed for each group. `base` is the text without any group."""

    name: str
    what: str
    groups: Mapping[str, Change]
    base: Change = lambda texts, draw: {}

    def edits(self, texts: Texts, example_id: str) -> dict[str, dict[str, Edited]]:
        """The edits of the base, named "", and of each group. Every group draws the same numbers."""
        return {
            name: texts.edited(change(texts, stream(self.name, example_id)))
            for name, change in {"": self.base, **self.groups}.items()
        }


def _of_gender(gender: int) -> Change:
    def other(name: str, taken: frozenset[str]) -> str:
        origin, its = OF_NAME[name]
        return name if its == gender else _at(FIRST_NAMES[origin][gender], FIRST_NAMES[origin][its].index(name), taken)

    def change(texts: Texts, draw: Draw) -> Changes:
        if texts.translated:  # in most languages, more words than these have a gender
            return {}
        every = {**texts.inputs, **texts.gold}
        new = people.renamed(every.values(), other)
        return {name: [*people.with_names(text, new), *people.in_gender(text, gender)] for name, text in every.items()}

    return change


def _of_origin(origin: str) -> Change:
    def other(name: str, taken: frozenset[str]) -> str:
        own, gender = OF_NAME[name]
        return name if own == origin else _at(FIRST_NAMES[origin][gender], FIRST_NAMES[own][gender].index(name), taken)

    def change(texts: Texts, draw: Draw) -> Changes:
        if not people.follow(texts):
            return {}
        every = {**texts.inputs, **texts.gold}
        new = people.renamed(every.values(), other)
        return {name: people.with_names(text, new) for name, text in every.items()}

    return change


def _at(names: tuple[str, ...], number: int, taken: frozenset[str]) -> str:
    """The name with this number, or the next one that is free; the name itself if none is."""
    ordered = [names[(number + step) % len(names)] for step in range(len(names))]
    return next((name for name in ordered if name not in taken), ordered[0])


def _by(choose: Callable[[Draw], str]) -> Change:
    """The text, said to be by somebody."""

    def change(texts: Texts, draw: Draw) -> Changes:
        if texts.inputs.keys() != {TEXT}:
            return {}
        name = choose(draw)
        name = name.lower() if texts.inputs[TEXT] == texts.inputs[TEXT].lower() else name
        return {TEXT: [Replacement(0, 0, f"{name} wrote: ")]}

    return change


def _writer_of_gender(gender: int) -> Change:
    def choose(draw: Draw) -> str:
        names = FIRST_NAMES[one_of(ORIGINS, draw)]
        number = int(draw() * min(map(len, names)))
        return names[gender][number]

    return _by(choose)


def _writer_of_origin(origin: str) -> Change:
    def choose(draw: Draw) -> str:
        names = FIRST_NAMES[origin][int(draw() * len(GENDERS))]
        return names[int(draw() * len(names))]

    return _by(choose)


TRAITS = (
    Trait(
        "gender",
        "everybody in the text: first names, pronouns, words for people",
        {name: _of_gender(gender) for gender, name in enumerate(GENDERS)},
    ),
    Trait(
        "origin",
        "the first names in the text, by the origin of the family",
        {origin: _of_origin(origin) for origin in ORIGINS},
    ),
    Trait(
        "gender of the writer",
        "the text begins with NAME wrote:",
        {name: _writer_of_gender(gender) for gender, name in enumerate(GENDERS)},
        _by(lambda draw: "Someone"),
    ),
    Trait(
        "origin of the writer",
        "the text begins with NAME wrote:",
        {origin: _writer_of_origin(origin) for origin in ORIGINS},
        _by(lambda draw: "Someone"),
    ),
)
