"""Tags of words: which are some, in which order they are numbered, and what is worth saying of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.system.console import warn
from llmkit.system.errors import UserError
from llmkit.tasks.encoder_models import SHOWN, counted
from llmkit.tasks.examples import checked_text
from llmkit.tasks.label.labels import counted_strangers
from llmkit.tasks.tags.entities import entities
from llmkit.tasks.values import BadRow

if TYPE_CHECKING:
    from datasets import Dataset

OUTSIDE = "O"


def check_tag(tag: Any, what: str) -> None:
    """Raises BadRow for what is no tag of an entity scheme."""
    if isinstance(tag, int):
        raise BadRow(f"{what} is the number {tag}: tags are given by name, for instance B-PER")
    if not isinstance(tag, str) or not tag:
        raise BadRow(f"{what} is empty or not text: {tag!r}")
    if tag.split() != [tag]:
        raise BadRow(f"{what} holds white space: {tag!r}")
    try:
        entities([checked_text(tag, what)])
    except UserError as problem:
        raise BadRow(f"{what}: {problem.problems[0]}; tags are O, and B-TYPE, I-TYPE and so on") from None


def numbered(examples: Dataset) -> tuple[str, ...]:
    """The tags of training examples in the order of their numbers: O, then by the alphabet.

    Raises UserError where there is no entity: nothing can be learned then.
    """
    found = {tag for tags in examples["tags"] for tag in tags} - {OUTSIDE}
    if not found:
        raise UserError(
            f"each word of the {len(examples):,} training examples has the tag {OUTSIDE}",
            remedy="give examples with entities, or name another column with data.tags_column",
        )
    return (OUTSIDE, *sorted(found))


def shares(examples: Dataset) -> str:
    """`9 tags; 23,499 entities in 203,621 words: LOC 7,140, PER 6,600, …`."""
    tags, types = Counter[str](), Counter[str]()
    for sentence in examples["tags"]:
        tags.update(sentence)
        types.update(entity.type for entity in entities(sentence))
    shown = [f"{name} {number:,}" for name, number in types.most_common(SHOWN)]
    more = [f"and {len(types) - SHOWN} more"] if len(types) > SHOWN else []
    return f"{len(tags)} tags; {types.total():,} entities in {tags.total():,} words: {', '.join(shown + more)}"


def strangers(examples: Dataset, known: Iterable[str], who: str) -> str:
    """As of labels: `12 of 5,000 words have a tag that WHO, and count as wrong: B-LAW (10), I-LAW (2)`."""
    counts = Counter(tag for tags in examples["tags"] for tag in tags)
    return counted_strangers(counts, known, f"words have a tag that {who}")


def check_known(name: str, labels: Sequence[str], examples: Dataset) -> None:
    """Warn of words whose tag the model `name` does not know; UserError where it knows no entity's tag."""
    wanted = {tag for sentence in examples["tags"] for tag in sentence} - {OUTSIDE}
    if wanted and not wanted & set(labels):
        raise UserError(
            f"{name} knows none of the tags of the data: it has {counted(labels)}, the data {counted(sorted(wanted))}",
            remedy="name other data, or what its labels mean: id2label in its config.json",
        )
    if unknown := strangers(examples, labels, f"{name} does not know"):
        warn(unknown)
