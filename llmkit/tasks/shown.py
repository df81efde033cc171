"""An example with its gold answer and its prediction, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal

Mark = Literal["", "gold", "predicted", "both"]
AROUND = 160  # characters that stay on either side of what is marked
MOST = 600  # characters of a text in which nothing is marked
NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Part:
    """A part of a text, which is marked as gold, predicted or both. `note` is written behind it: an entity's type."""

    text: str
    mark: Mark = ""
    note: str = ""


@dataclass(frozen=True)
class Case:
    """An example and its prediction.

    texts      its texts by name, in parts
    gold       the gold answer in words; empty if the texts show it
    predicted  what is predicted, in words; empty if the texts show it
    """

    texts: Sequence[tuple[str, Sequence[Part]]]
    gold: str = ""
    predicted: str = ""


def plain(text: str) -> list[Part]:
    """A text without marks, cut if it is long."""
    return [Part(text if len(text) <= MOST else f"{text[:MOST]} …")]


def marked(text: str, gold: Sequence[tuple[int, int]], predicted: Sequence[tuple[int, int]]) -> list[Part]:
    """A text with spans of characters marked. What is far from all of them is cut."""
    if not gold and not predicted:
        return plain(text)
    ends = {end for span in (*gold, *predicted) for end in span}
    keep = [(max(0, start - AROUND), min(len(text), end + AROUND)) for start, end in (*gold, *predicted)]
    cuts = sorted({0, len(text), *ends, *(end for span in keep for end in span)})
    found: list[Part] = []
    for start, end in pairwise(cuts):
        if not _inside(start, end, keep):
            found.append(Part(" … "))
            continue
        is_gold, is_predicted = _inside(start, end, gold), _inside(start, end, predicted)
        mark: Mark = "both" if is_gold and is_predicted else "gold" if is_gold else "predicted" if is_predicted else ""
        found.append(Part(text[start:end], mark))
    return list(_merged(found))


def differences(gold: Sequence[str], predicted: Sequence[str]) -> list[Part]:
    """Both sequences of words as one text: words that only one of them has are marked."""
    found: list[Part] = []
    for kind, start, end, other_start, other_end in SequenceMatcher(
        None, gold, predicted, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            found.append(Part(" ".join(gold[start:end]) + " "))
            continue
        for words, mark in ((gold[start:end], "gold"), (predicted[other_start:other_end], "predicted")):
            if words:
                found += [Part(" ".join(words), mark), Part(" ")]  # type: ignore[arg-type]
    return found


def _inside(start: int, end: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(first <= start and end <= last for first, last in spans)


def _merged(parts: Iterable[Part]) -> Iterator[Part]:
    """Parts, with neighbours of the same mark as one."""
    last: Part | None = None
    for part in parts:
        if last is not None and part.mark == last.mark:
            last = Part(last.text + part.text, part.mark)
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last
