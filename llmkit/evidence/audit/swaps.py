"""Other numbers and other people, the same everywhere in an example, so that its answer follows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmkit.evidence.audit import people
from llmkit.evidence.audit.drawing import Draw, one_of
from llmkit.evidence.audit.word_lists import FIRST_NAMES, OF_NAME, SURNAMES
from llmkit.tasks.editing import Changes, Replacement, Texts

_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")
_CENTURY = re.compile(r"(?:1\d|20)\d\d")


def other_number(texts: Texts, draw: Draw) -> Changes:
    """One number becomes another, everywhere: one of an answer, if there is one. A year stays in its century."""
    every = {**texts.inputs, **texts.gold}
    found = {name: list(_NUMBER.finditer(text)) for name, text in every.items()}
    kept = [
        match[0]
        for name, places in texts.kept.items()
        for match in found[name]
        if any(start <= match.start() and match.end() <= end for start, end in places)
    ]
    choices = [number for number in dict.fromkeys(kept or _numbers(texts.inputs)) if _follows(number, texts)]
    if not choices:
        return {}
    old = one_of(choices, draw)
    taken = {match[0] for matches in found.values() for match in matches}
    tries = (_other(old, draw) for _ in range(100))
    new = next((number for number in tries if number not in taken), None)
    if new is None:  # of one digit, and all of them are taken
        return {}
    return {
        name: [Replacement(*match.span(), new) for match in matches if match[0] == old]
        for name, matches in found.items()
    }


def _numbers(texts: Mapping[str, str]) -> list[str]:
    return [match[0] for text in texts.values() for match in _NUMBER.finditer(text)]


def _follows(number: str, texts: Texts) -> bool:
    """Whether a translation has the number as often as the inputs: it might be there in words, and would not follow."""
    times = _numbers(texts.inputs).count(number)
    return not texts.translated or all(_numbers({"": gold}).count(number) == times for gold in texts.gold.values())


def _other(number: str, draw: Draw) -> str:
    first = 2 if _CENTURY.fullmatch(number) else 0
    digits = list(number)
    for at in range(first, len(digits)):
        if digits[at].isdigit():
            digits[at] = one_of("123456789" if at == 0 else "0123456789", draw)
    return "".join(digits)


# A capitalized word after a first name is taken as a surname.
_SURNAME = re.compile(r"\s+([A-Z][a-zà-ž]{2,})(?![\w-])")


def other_names(texts: Texts, draw: Draw) -> Changes:
    """All whose first names are in the lists get other ones of the same gender and origin, and other surnames."""
    every = {**texts.inputs, **texts.gold}

    def other(name: str, taken: frozenset[str]) -> str:
        origin, gender = OF_NAME[name]
        free = [each for each in FIRST_NAMES[origin][gender] if each not in taken and each != name]
        return one_of(free, draw) if free else name

    new = people.renamed(every.values(), other)
    if not people.follow(texts):
        return {}
    surnames = {
        following[1]
        for text in texts.inputs.values()
        for match, _ in people.names_in(text)
        if (following := _SURNAME.match(text, match.end())) and following[1] not in OF_NAME
    }
    text_of_all = " ".join(every.values())
    free = [each for each in SURNAMES if each not in text_of_all]
    start = int(draw() * len(free)) if free else 0
    other_surname = dict(zip(sorted(surnames), [*free[start:], *free[:start]], strict=False))
    return {name: [*people.with_names(text, new), *_surnames(text, other_surname)] for name, text in every.items()}


def _surnames(text: str, new: Mapping[str, str]) -> list[Replacement]:
    if not new:
        return []
    pattern = re.compile(rf"(?<![\w'’-])(?:{'|'.join(map(re.escape, new))})(?![\w-])")
    return [Replacement(*match.span(), new[match[0]]) for match in pattern.finditer(text)]
