"""Tags: check them, put them in order, and describe them in messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.tasks.encoder_models import describe_labels
from llmkit.tasks.examples import checked_text
from llmkit.tasks.label.labels import describe_unknown, first_few
from llmkit.tasks.tags.entities import entities
from llmkit.tasks.values import BadRow

if TYPE_CHECKING:
    from datasets import Dataset

OUTSIDE = "O"


def check_tag(tag: Any, what: str) -> None:
    """Raises BadRow if `tag` is not a tag of an entity scheme."""
    if isinstance(tag, int):
        raise BadRow(f"{what} is the number {tag}: give tags by name, for instance B-PER")
    if not isinstance(tag, str) or not tag:
        raise BadRow(f"{what} is empty or not text: {tag!r}")
    if tag.split() != [tag]:
        raise BadRow(f"{what} contains white space: {tag!r}")
    try:
        entities([checked_text(tag, what)])
    except UserError as problem:
        raise BadRow(f"{what}: {problem.problems[0]}; tags are O, and B-TYPE, I-TYPE and so on") from None


def in_order(examples: Dataset) -> tuple[str, ...]:
    """The tags of the training examples: O, then the rest alphabetically.

    Raises UserError if there are no entities, since there is nothing to learn.
    """
    found = {tag for tags in examples["tags"] for tag in tags} - {OUTSIDE}
    if not found:
        raise UserError(
            f"each word of the {len(examples):,} training examples has the tag {OUTSIDE}",
            remedy="give examples with entities, or choose another column with data.tags_column",
        )
    return (OUTSIDE, *sorted(found))


def tag_counts(examples: Dataset) -> str:
    """`9 tags; 23,499 entities in 203,621 words: LOC 7,140, PER 6,600, …`."""
    tags, types = Counter[str](), Counter[str]()
    for sentence in examples["tags"]:
        tags.update(sentence)
        types.update(entity.type for entity in entities(sentence))
    by_type = first_few([f"{name} {number:,}" for name, number in types.most_common()])
    return f"{len(tags)} tags; {types.total():,} entities in {tags.total():,} words: {by_type}"


def unknown_tags(examples: Dataset, known: Iterable[str], clause: str) -> str:
    """`12 of 500 words have a tag that CLAUSE, and count as wrong: B-LAW (10), I-LAW (2)`; empty if all are known."""
    counts = Counter(tag for tags in examples["tags"] for tag in tags)
    return describe_unknown(counts, known, f"words have a tag that {clause}")


def check_tags(name: str, labels: Sequence[str], examples: Dataset) -> None:
    """Warn about words whose tag the model `name` does not know. Raises UserError if it knows no tag but O."""
    wanted = {tag for sentence in examples["tags"] for tag in sentence} - {OUTSIDE}
    if wanted and not wanted & set(labels):
        raise UserError(
            f"{name} knows none of the tags of the data: it has {describe_labels(labels)}, "
            f"the data {describe_labels(sorted(wanted))}",
            remedy="choose other data, or name the model's labels in id2label of its config.json",
        )
    if unknown := unknown_tags(examples, labels, f"{name} does not know"):
        warn(unknown)
