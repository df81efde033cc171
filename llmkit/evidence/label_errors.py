"""Which gold labels are suspect? Confident learning (Northcutt et al. 2021), by cleanlab.

A label is suspect if the model finds another one more probable than it usually finds that one where it is right. The
probabilities must be of examples that the model did not train on, which those of an evaluation are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from llmkit.tasks.review import Labelling
from llmkit.tasks.values import Array


@dataclass(frozen=True)
class Suspect:
    """A gold label that may be wrong.

    example           the number of the example
    place             where in the example, in words; empty if the label is of all of it
    given, likely     the gold label, and the one that the model finds most probable
    of_given, of_likely  their probabilities, among the labels that occur
    """

    example: int
    place: str
    given: str
    likely: str
    of_given: float
    of_likely: float


@dataclass(frozen=True)
class Suspects:
    """The suspect labels, the most suspect first, and of how many: `rows`."""

    found: list[Suspect]
    rows: int


def suspects(labellings: Iterable[Labelling]) -> Suspects | None:
    """The suspect labels of all labellings. None if none of them has two labels."""
    found: list[Suspect] = []
    rows = 0
    for labelling in labellings:
        if len(set(labelling.gold.tolist())) > 1:
            rows += len(labelling.gold)
            found += _of(labelling)
    return Suspects(sorted(found, key=lambda each: each.of_given), rows) if rows else None


def _of(labelling: Labelling) -> list[Suspect]:
    from cleanlab.filter import find_label_issues

    probabilities = _normalized(labelling.probabilities)
    numbers = find_label_issues(
        labelling.gold,
        probabilities,
        return_indices_ranked_by="self_confidence",
        n_jobs=1,  # more processes take longer to start than this takes
    )
    likely = probabilities.argmax(axis=1)
    return [
        Suspect(
            int(labelling.examples[row]),
            labelling.places[row] if labelling.places else "",
            labelling.names[labelling.gold[row]],
            labelling.names[likely[row]],
            float(probabilities[row, labelling.gold[row]]),
            float(probabilities[row, likely[row]]),
        )
        for row in numbers.tolist()
        if likely[row] != labelling.gold[row]
    ]


def _normalized(probabilities: Array) -> Array:
    """Probabilities of the labels that occur, which add up to 1; even where all of them were too small to keep."""
    sums = probabilities.sum(axis=1, keepdims=True)
    even = np.full_like(probabilities, 1 / probabilities.shape[1])
    found: Array = np.divide(probabilities, sums, out=even, where=sums > 0)
    return found
