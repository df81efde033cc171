"""What a report shows of tagged sentences: entities by type, length and whether training had them; kinds of errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from llmkit.tasks.measures import Measured, Sums, f1_of_counts
from llmkit.tasks.slices import Listed, Sliced, Slicing, in_quarters
from llmkit.tasks.tags.entities import Entity, Reader
from llmkit.tasks.values import Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

LENGTHS = ("1 word", "2 words", "3 words and more")


def by_length(examples: Dataset) -> Slicing:
    """Sentences by their number of words."""
    return in_quarters("words of the sentence", [len(tokens) for tokens in examples["tokens"][:]])


def sliced_entities(
    predictions: Sequence[Prediction], examples: Dataset, read: Reader, train: Dataset | None, *, rows: str
) -> Sliced:
    """F1 of entities, gold and predicted ones: a predicted one that is wrong counts in its own slice."""
    counts: list[tuple[int, int, int]] = []  # correct, predicted, gold
    groups: list[str] = []
    found: list[tuple[Entity, str]] = []  # with its text
    for example_id, tokens, ours, theirs in _each(predictions, examples, read):
        for entity in sorted(ours | theirs):
            its_own, gold = entity in ours, entity in theirs
            counts.append((its_own and gold, its_own, gold))
            groups.append(example_id)
            found.append((entity, _text(tokens, entity)))
    slicings = [Slicing("type", [entity.type for entity, _ in found])]
    if train is not None:
        seen = {
            _text(tokens, entity)
            for tokens, tags in zip(train["tokens"][:], train["tags"][:], strict=True)
            for entity in read(tags)
        }
        slicings.append(
            Slicing(
                "in the training examples",
                ["seen" if text in seen else "unseen" for _, text in found],
                ("seen", "unseen"),
                "Seen: the same words are an entity of any type there.",
            )
        )
    slicings.append(Slicing("length", [LENGTHS[min(2, entity.last - entity.first)] for entity, _ in found], LENGTHS))
    measure = Sums(np.array(counts, np.float64).reshape(-1, 3), f1_of_counts)
    return Sliced(rows, "f1", Measured(measure, groups), slicings)


RIGHT, TYPE, BOUNDARIES, BOTH, MISSED, MADE_UP = (
    "right",
    "right words, wrong type",
    "right type, wrong boundaries",
    "wrong type and boundaries",
    "missed: no predicted entity overlaps it",
    "made up: overlaps no gold entity",
)


def errors(predictions: Sequence[Prediction], examples: Dataset, read: Reader) -> Listed:
    """How many entities are right, or wrong in their type, their boundaries or both; missed, or made up."""
    kinds = Counter[str]()
    for _, _, ours, theirs in _each(predictions, examples, read):
        kinds.update(_kind(gold, ours) for gold in theirs)
        kinds[MADE_UP] += sum(not _overlapping(entity, theirs) for entity in ours)
    gold = kinds.total() - kinds[MADE_UP]
    rows = [
        [name, f"{kinds[name]:,}", f"{kinds[name] / gold:.1%}" if gold else ""]
        for name in (RIGHT, TYPE, BOUNDARIES, BOTH, MISSED)
    ]
    return Listed(
        "How entities are wrong",
        ["entities", ">number", ">of the gold ones"],
        [*rows, [MADE_UP, f"{kinds[MADE_UP]:,}", ""]],
    )


def _kind(gold: Entity, found: set[Entity]) -> str:
    """What became of a gold entity."""
    if gold in found:
        return RIGHT
    near = _overlapping(gold, found)
    if any((entity.first, entity.last) == (gold.first, gold.last) for entity in near):
        return TYPE
    if any(entity.type == gold.type for entity in near):
        return BOUNDARIES
    return BOTH if near else MISSED


def _overlapping(entity: Entity, others: set[Entity]) -> list[Entity]:
    return [other for other in others if other.first <= entity.last and entity.first <= other.last]


def _each(
    predictions: Sequence[Prediction], examples: Dataset, read: Reader
) -> Iterator[tuple[str, Sequence[str], set[Entity], set[Entity]]]:
    """The id, words, predicted and gold entities of each sentence."""
    rows = zip(examples["id"][:], examples["tokens"][:], by_id(predictions, examples), examples["tags"][:], strict=True)
    for example_id, tokens, prediction, tags in rows:
        yield example_id, tokens, set(read(prediction.text.split())) if prediction else set(), set(read(tags))


def _text(tokens: Sequence[str], entity: Entity) -> str:
    return " ".join(tokens[entity.first : entity.last + 1])
