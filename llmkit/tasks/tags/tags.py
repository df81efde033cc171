"""Tags: put them in order, and describe them in messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.tasks.encoder_models import describe_labels
from llmkit.tasks.label.labels import describe_unknown, first_few
from llmkit.tasks.tags.entities import OUTSIDE, TAG, Reader, each_word
from llmkit.tasks.tags.schemes import describe
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from datasets import Dataset

LEAST = 0.001  # the probability of a tag that is kept


def tag_set(examples: Dataset) -> set[str]:
    """The tags that occur."""
    return {tag for tags in examples["tags"] for tag in tags}


def in_order(examples: Dataset) -> tuple[str, ...]:
    """The tags of the training examples: O if it occurs, then the rest alphabetically.

    Raises UserError if there is one tag only, since there is nothing to learn.
    """
    found = tag_set(examples)
    if len(found) == 1:
        raise UserError(
            f"each word of the {len(examples):,} training examples has the tag {found.pop()}",
            remedy="give examples with other tags too, or choose another column with data.tags_column",
        )
    return tuple(sorted(found, key=lambda tag: (tag != OUTSIDE, tag)))


def tags_by_type(labels: Iterable[str]) -> dict[str, list[str]]:
    """The tags of each type of entity: `PER` → B-PER, I-PER. Tags without letters have none."""
    found: dict[str, list[str]] = {}
    for label in labels:
        if (match := TAG.fullmatch(label)) and match.group(2):
            found.setdefault(match.group(2), []).append(label)
    return found


def tag_counts(examples: Dataset, read: Reader) -> str:
    """`tags: IOB, 4 types; 23,499 entities in 203,621 words: LOC 7,140, PER 6,600, …`."""
    words, types = 0, Counter[str]()
    for sentence in examples["tags"]:
        words += len(sentence)
        types.update(entity.type for entity in read(sentence))
    by_type = first_few([f"{name} {number:,}" for name, number in types.most_common()])
    entities = f"{types.total():,} entities in " if read is not each_word else ""
    return f"tags: {describe(tag_set(examples), read)}; {entities}{words:,} words: {by_type}"


def inexact_entities(examples: Dataset) -> str:
    """`3 entities begin or end inside a word, and are taken as whole words`; empty if there are none."""
    number = sum(examples["inexact"][:])
    if not number:
        return ""
    verbs = "entity begins or ends" if number == 1 else "entities begin or end"
    return f"{number:,} {verbs} inside a word; whole words are taken"


def unknown_tags(examples: Dataset, known: Iterable[str], clause: str) -> str:
    """`12 of 500 words have a tag that CLAUSE, and count as wrong: B-LAW (10), I-LAW (2)`; empty if all are known."""
    counts = Counter(tag for tags in examples["tags"] for tag in tags)
    return describe_unknown(counts, known, f"words have a tag that {clause}")


def probable(probabilities: Array, labels: Sequence[str]) -> list[dict[str, float]]:
    """The tags of each word that are not far from impossible, with their probabilities, the highest first.

    `probabilities` is [words, labels]. Most words have one such tag, so this is little to keep.
    """
    return [
        {labels[n]: round(float(row[n]), 4) for n in np.argsort(-row, kind="stable") if row[n] >= LEAST}
        for row in probabilities
    ]


def check_tags(name: str, labels: Sequence[str], examples: Dataset) -> None:
    """Warn about words whose tag the model `name` does not know. Raises UserError if it knows no tag but O."""
    wanted = tag_set(examples) - {OUTSIDE}
    if wanted and not wanted & set(labels):
        raise UserError(
            f"{name} knows none of the tags of the data: it has {describe_labels(labels)}, "
            f"the data {describe_labels(sorted(wanted))}",
            remedy="choose other data, or name the model's labels in id2label of its config.json",
        )
    if unknown := unknown_tags(examples, labels, f"{name} does not know"):
        warn(unknown)
