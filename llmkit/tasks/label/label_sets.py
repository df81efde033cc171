"""Sets of labels as text: `calm|sea`, in order; empty for none. Gold labels, tables and predictions have this form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.tasks.label.labels import describe_unknown, first_few, in_order, label_text
from llmkit.tasks.values import BadRow, MissingLabel

if TYPE_CHECKING:
    from datasets import Dataset

SEPARATOR = "|"


def as_text(labels: Iterable[str]) -> str:
    """A set of labels as text."""
    return SEPARATOR.join(in_order(labels))


def parts(text: str) -> list[str]:
    """The labels of a text; white space around them is none of theirs."""
    return [label for part in text.split(SEPARATOR) if (label := part.strip())]


def of_row(value: Any, column: str) -> str:
    """The labels of a row: a list, one label, or text with `|` between labels. An empty list or text is no label.

    Raises BadRow, or MissingLabel if there is no value.
    """
    if isinstance(value, str):
        if value.strip().startswith("[") and value.strip().endswith("]"):
            raise BadRow(f"{column!r} is a list that was written as text, {value!r}; separate labels by |: a|b")
        return as_text(label_text(label, column) for label in parts(value))
    if not isinstance(value, list):
        return as_text([label_text(value, column)])
    try:
        labels = [label_text(label, column) for label in value]
    except MissingLabel:
        raise BadRow(f"{column!r} has an empty label: {value!r}") from None
    if bad := [label for label in labels if SEPARATOR in label]:
        raise BadRow(f"{column!r} has the label {bad[0]!r}, but | separates labels")
    return as_text(labels)


def all_labels(examples: Dataset) -> tuple[str, ...]:
    """The labels that occur, in order."""
    return in_order(label for text in examples["label"][:] for label in parts(text))


def check_several(examples: Dataset) -> None:
    """Raises UserError if fewer than two labels occur in the training examples."""
    found = all_labels(examples)
    if len(found) < 2:
        what = f"only the label {found[0]!r}" if found else "no label"
        raise UserError(
            f"the {len(examples):,} training examples have {what}",
            remedy="give examples with two or more labels, or choose another column with data.label_column; to tell "
            "one label from none, use --task classification",
        )


def counts(examples: Dataset) -> str:
    """`3 labels: sea 40 (80%), calm 20 (40%), …; 1.3 to an example, 5 examples without`."""
    sets = [parts(text) for text in examples["label"][:]]
    found = Counter(label for labels in sets for label in labels)
    shares = [f"{label} {number:,} ({number / len(sets):.0%})" for label, number in found.most_common()]
    mean, none = found.total() / len(sets), sum(not labels for labels in sets)
    return f"{len(found)} labels: {first_few(shares)}; {mean:.1f} to an example, {none:,} examples without"


def unknown(examples: Dataset, known: Iterable[str], clause: str) -> str:
    """`12 of 500 labels CLAUSE, and count as wrong: x (10), y (2)`; empty if all are known."""
    found = Counter(label for text in examples["label"][:] for label in parts(text))
    return describe_unknown(found, known, f"labels {clause}")
