"""Ways to cut pairs of a source and a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llmkit.corpus.words import words
from llmkit.tasks.slices import Slicing, in_quarters, number_of_words

if TYPE_CHECKING:
    from datasets import Dataset


def slicings(examples: Dataset) -> list[Slicing]:
    """By the lengths of source and reference, and by how much of the reference is copied from the source."""
    sources, targets = examples["source"][:], examples["target"][:]
    return [
        in_quarters("words of the source", number_of_words(sources)),
        in_quarters("words of the reference", number_of_words(targets)),
        in_quarters(
            "words of the reference that are in the source, in percent",
            [_copied(source, target) for source, target in zip(sources, targets, strict=True)],
        ),
    ]


def _copied(source: str, target: str) -> float:
    found = words(target.lower())
    there = set(words(source.lower()))
    return round(100 * sum(word in there for word in found) / len(found)) if found else np.nan
