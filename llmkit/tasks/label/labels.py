"""Labels: how they come in rows, in which order they are numbered, and what is worth saying of them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.system.console import warn
from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.encoder_models import SHOWN, counted
from llmkit.tasks.values import BadRow, NoLabel

if TYPE_CHECKING:
    from datasets import Dataset

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")


def label_text(value: Any, column: str) -> str:
    """A row's label as text: `true` for a truth value, `2` for 2 and 2.0. Raises BadRow, NoLabel where it is empty."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise NoLabel(f"{column!r} is empty")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise BadRow(f"{column!r} is neither text nor a whole number: {value!r}")
    if not value.strip():
        raise NoLabel(f"{column!r} is empty")
    return value.strip()


def name_of(label: str, names: Sequence[str], column: str) -> str:
    """One of fixed `names`, for itself or for its number; -1 stands for a label that is kept secret. Raises BadRow."""
    if label in names:
        return label
    number = int(float(label)) if _WHOLE.fullmatch(label) else None
    if number == -1:
        raise NoLabel(f"{column!r} is -1, which stands for a label that is kept secret")
    if number is None or not 0 <= number < len(names):
        known = f"{', '.join(names)}, or their numbers 0 to {len(names) - 1}"
        raise BadRow(f"{column!r} is {label!r}{did_you_mean(label, names)}; labels are {known}")
    return names[number]


def numbered(labels: Iterable[str]) -> tuple[str, ...]:
    """Different labels in the order of their numbers: by value where all are numbers, else by the alphabet."""
    found = sorted(set(labels))
    return tuple(sorted(found, key=float) if all(_WHOLE.fullmatch(label) for label in found) else found)


def check_several(examples: Dataset) -> None:
    """Raises UserError where training examples show one label only: nothing can be learned from them."""
    found = set(examples["label"][:])
    if len(found) < 2:
        raise UserError(
            f"every one of the {len(examples):,} training examples has the label {found.pop()!r}",
            remedy="give examples of two labels or more, or name another column with data.label_column",
        )


def shares(examples: Dataset) -> str:
    """`labels: acceptable 6,023 (70%), unacceptable 2,528 (30%)`."""
    counts = Counter(examples["label"][:]).most_common()
    shown = [f"{label} {number:,} ({number / len(examples):.0%})" for label, number in counts[:SHOWN]]
    more = [f"and {len(counts) - SHOWN} more"] if len(counts) > SHOWN else []
    return f"{len(counts)} labels: {', '.join(shown + more)}"


def strangers(examples: Dataset, known: Iterable[str], who: str) -> str:
    """`12 of 500 examples have a label that WHO, and count as wrong: x (10), y (2)`; nothing where all are known."""
    return counted_strangers(Counter(examples["label"][:]), known, f"examples have a label that {who}")


def counted_strangers(counts: Counter[str], known: Iterable[str], what: str) -> str:
    """The same of labels that are counted already."""
    named, total = set(known), counts.total()
    unknown = Counter({label: number for label, number in counts.items() if label not in named})
    if not unknown:
        return ""
    shown = [f"{label} ({number:,})" for label, number in unknown.most_common(SHOWN)]
    more = [f"and {len(unknown) - SHOWN} more"] if len(unknown) > SHOWN else []
    return f"{unknown.total():,} of {total:,} {what}, and count as wrong: {', '.join(shown + more)}"


def check_known(name: str, labels: Sequence[str], examples: Dataset) -> None:
    """Warn of examples whose label the model `name` does not know; UserError where it knows none of them."""
    if not set(labels) & set(examples["label"][:]):
        raise UserError(
            f"{name} knows none of the labels of the data: it has {counted(labels)}, "
            f"the data {counted(numbered(examples['label']))}",
            remedy="name other data, or what its labels mean: id2label in its config.json",
        )
    if unknown := strangers(examples, labels, f"{name} does not know"):
        warn(unknown)
