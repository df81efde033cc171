"""Labels: read them from rows, put them in order, and describe them in messages."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.system.console import warn
from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.encoder_models import describe_labels
from llmkit.tasks.kept_heads import MAX_SHOWN
from llmkit.tasks.values import BadRow, MissingLabel

if TYPE_CHECKING:
    from datasets import Dataset

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_FRACTION = re.compile(r"[+-]?\d*\.\d+")  # unless it is whole


def label_text(value: Any, column: str) -> str:
    """A row's label as text: `true` for true and "True", `2` for 2, 2.0 and "2.0".

    Raises BadRow, or MissingLabel if it is empty.

    Text may be a number too, as in tables: pandas writes a column of whole numbers as 2.0 if a value of it is missing.
    0.5 is no label, and neither is "0.5".
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise MissingLabel(f"{column!r} is empty")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        raise BadRow(f"{column!r} is a list, {value!r}, but a text has one label")
    if not isinstance(value, str | float):
        raise BadRow(f"{column!r} is neither text nor a whole number: {value!r}")
    label = canonical_label(str(value).strip())
    if not label:
        raise MissingLabel(f"{column!r} is empty")
    if isinstance(value, float) or _FRACTION.fullmatch(label):
        raise BadRow(
            f"{column!r} is no label but a number, {value!r}; to learn numbers, fine-tune with --task regression"
        )
    return label


def canonical_label(label: str) -> str:
    """A label as JSON has it, however a table spells it: `2` for `2.0`, `true` for `True` and `TRUE`."""
    if _WHOLE.fullmatch(label):
        return label.partition(".")[0]
    return label.lower() if label.lower() in ("true", "false") else label


def name_of(label: str, names: Sequence[str], column: str) -> str:
    """The name of a label that is given by name or number. Raises BadRow, or MissingLabel for -1: a withheld label."""
    if label in names:
        return label
    number = int(float(label)) if _WHOLE.fullmatch(label) else None
    if number == -1:
        raise MissingLabel(f"{column!r} is -1, which marks a withheld label")
    if number is None or not 0 <= number < len(names):
        known = f"{', '.join(names)}, or their numbers 0 to {len(names) - 1}"
        raise BadRow(f"{column!r} is {label!r}{did_you_mean(label, names)}; labels are {known}")
    return names[number]


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels: in numerical order if all are whole numbers, else alphabetically."""
    found = sorted(set(labels))
    return tuple(sorted(found, key=float) if all(_WHOLE.fullmatch(label) for label in found) else found)


def check_several(examples: Dataset) -> None:
    """Raises UserError if all training examples have the same label, since there is nothing to learn."""
    found = set(examples["label"][:])
    if len(found) < 2:
        raise UserError(
            f"every one of the {len(examples):,} training examples has the label {found.pop()!r}",
            remedy="give examples of two or more labels, or choose another column with data.label_column",
        )


def label_counts(examples: Dataset) -> str:
    """`2 labels: acceptable 6,023 (70%), unacceptable 2,528 (30%)`."""
    counts = Counter(examples["label"][:]).most_common()
    shares = [f"{label} {number:,} ({number / len(examples):.0%})" for label, number in counts]
    return f"{len(counts)} labels: {first_few(shares)}"


def first_few(items: Sequence[str]) -> str:
    """The first items, and how many there are besides: `a, b, and 3 more`."""
    more = [f"and {len(items) - MAX_SHOWN} more"] if len(items) > MAX_SHOWN else []
    return ", ".join([*items[:MAX_SHOWN], *more])


def unknown_labels(examples: Dataset, known: Iterable[str], clause: str) -> str:
    """`12 of 500 examples have a label that CLAUSE, and count as wrong: x (10), y (2)`; empty if all are known."""
    return describe_unknown(Counter(examples["label"][:]), known, f"examples have a label that {clause}")


def describe_unknown(counts: Counter[str], known: Iterable[str], what: str) -> str:
    """`12 of 500 WHAT, and count as wrong: x (10), y (2)`, from counts of labels or tags; empty if all are known."""
    named, total = set(known), counts.total()
    unknown = Counter({label: number for label, number in counts.items() if label not in named})
    if not unknown:
        return ""
    shown = first_few([f"{label} ({number:,})" for label, number in unknown.most_common()])
    return f"{unknown.total():,} of {total:,} {what}, and count as wrong: {shown}"


def check_labels(name: str, labels: Sequence[str], examples: Dataset) -> None:
    """Warn about examples whose label the model `name` does not know. Raises UserError if it knows none of them."""
    labels = [canonical_label(label) for label in labels]  # a model may call a label 2.0 or True
    if not set(labels) & set(examples["label"][:]):
        raise UserError(
            f"{name} knows none of the labels of the data: it has {describe_labels(labels)}, "
            f"the data {describe_labels(in_order(examples['label']))}",
            remedy="choose other data with --data or another column with data.label_column, or name the model's labels "
            "in id2label of its config.json",
        )
    if unknown := unknown_labels(examples, labels, f"{name} does not know"):
        warn(unknown)
