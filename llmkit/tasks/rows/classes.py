"""Labels by number whose names are in the schema of their file: `ClassLabel` of the library `datasets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Features


def with_names(row: Mapping[str, Any], features: Features) -> dict[str, Any]:
    """A row with names in place of label numbers, alone or in lists. -1 marks a withheld label and becomes None."""
    return {name: _named(value, features[name]) for name, value in row.items()}


def _named(value: Any, kind: Any) -> Any:
    from datasets import ClassLabel, List

    if isinstance(kind, List) and isinstance(kind.feature, ClassLabel) and value is not None:
        return [_named(number, kind.feature) for number in value]
    if isinstance(kind, ClassLabel) and isinstance(value, int):
        if value < 0:
            return None
        return kind.names[value] if value < len(kind.names) else value
    return value
