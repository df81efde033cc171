"""Entities in tagged sentences, and their precision, recall and F1, as in seqeval's default mode.

A tag is O, or a letter and a type: B-PER, I-PER, E-PER, S-PER; a letter alone has the type "_". One rule reads IOB1,
IOB2, IOE1, IOE2 and IOBES, and also sequences that follow no scheme, like conlleval. L and U (BILOU) are read as E and
S, as in seqeval's strict mode; its default mode does not know these letters. Nor does it know M (BMES) and W (BMEWO),
which are read as I and S. Tags without letters have readers of their own; schemes.py chooses one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmkit.system.errors import UserError

IntArray = npt.NDArray[np.int64]

OUTSIDE = "O"
TAG = re.compile(r"O|([BIESLUMW])(?:[-_](.*))?", re.DOTALL)
_MEANING = str.maketrans("LUMW", "ESIS")


class Entity(NamedTuple):
    """An entity of words `first` to `last` of a sentence, inclusive."""

    type: str
    first: int
    last: int


# The tags of a sentence → its entities, in order.
Reader = Callable[[Sequence[str]], list[Entity]]


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence whose tags have letters. Raises UserError for an invalid tag."""
    found: list[Entity] = []
    letter_before, type_before = OUTSIDE, ""
    for i, tag in enumerate(tags):
        letter, type_ = _parts(tag)
        if letter != OUTSIDE:
            starts = letter_before in "OES" or letter in "BS" or type_ != type_before
            first = i if starts else found.pop().first
            found.append(Entity(type_, first, i))
        letter_before, type_before = letter, type_
    return found


def runs(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence whose tags are types without letters: words of one type in a row are one entity."""
    found: list[Entity] = []
    for i, tag in enumerate(tags):
        if tag != OUTSIDE:
            first = found.pop().first if i and tags[i - 1] == tag else i
            found.append(Entity(tag, first, i))
    return found


def each_word(tags: Sequence[str]) -> list[Entity]:
    """Each word on its own, as parts of speech are scored. An empty tag stands for none."""
    return [Entity(tag, i, i) for i, tag in enumerate(tags) if tag]


def entity_scores(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], read: Reader = entities
) -> dict[str, Any]:
    """Micro-averaged `precision`, `recall`, `f1` in percent, and `support`; and the same by entity type (`per_type`).

    Both arguments are tags, [sentences][words]. A predicted entity is correct if its type and both boundaries are.
    `support` is the number of entities in the references. 0 / 0 is 0. Raises ValueError if there are no sentences or
    the lengths differ, UserError for an invalid tag.
    """
    correct, predicted, gold = Counter[str](), Counter[str](), Counter[str]()
    for ours, theirs in _entity_pairs(predictions, references, read):
        correct.update(entity.type for entity in ours & theirs)
        predicted.update(entity.type for entity in ours)
        gold.update(entity.type for entity in theirs)
    per_type = {name: _scores(correct[name], predicted[name], gold[name]) for name in sorted(predicted | gold)}
    return {**_scores(correct.total(), predicted.total(), gold.total()), "per_type": per_type}


def entity_counts(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], read: Reader = entities
) -> IntArray:
    """[sentences, 3]: correct, predicted and gold entities. Sum the rows to get F1 with `f1_of_counts`."""
    pairs = _entity_pairs(predictions, references, read)
    rows = [(len(ours & theirs), len(ours), len(theirs)) for ours, theirs in pairs]
    return np.array(rows, np.int64)


def _scores(correct: int, predicted: int, gold: int) -> dict[str, float]:
    return {
        "precision": 100 * correct / predicted if predicted else 0.0,
        "recall": 100 * correct / gold if gold else 0.0,
        "f1": 200 * correct / (predicted + gold) if predicted + gold else 0.0,
        "support": gold,
    }


def _entity_pairs(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], read: Reader
) -> list[tuple[set[Entity], set[Entity]]]:
    """The predicted and gold entities of each sentence."""
    if not references or len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} tagged sentences for {len(references)} references")
    for i, (ours, theirs) in enumerate(zip(predictions, references, strict=True)):
        if len(ours) != len(theirs):
            raise ValueError(f"sentence {i} has {len(ours)} predicted tags for {len(theirs)} words")
    pairs = zip(predictions, references, strict=True)
    return [(set(read(ours)), set(read(theirs))) for ours, theirs in pairs]


def _parts(tag: str) -> tuple[str, str]:
    match = TAG.fullmatch(tag)
    if match is None:
        raise UserError(
            f"{tag!r} is not a tag of an entity scheme",
            remedy="use O outside entities, and B-TYPE, I-TYPE, E-TYPE, S-TYPE (or L-, U-, M-, W-) inside",
        )
    letter, type_ = match.groups()
    return (letter or OUTSIDE).translate(_MEANING), type_ or "_"
