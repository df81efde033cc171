"""What a report says of single generated texts: how they differ from their references."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from llmkit.tasks.review import Claims, Review
from llmkit.tasks.shown import Case, differences, plain
from llmkit.tasks.slices import Slicing
from llmkit.tasks.text.slices import slicings


class TextReview(Review):
    """Generated texts."""

    unclaimed: ClassVar[str] = (
        "the score of a generated text is the mean probability of its tokens, which does not claim that all of it is "
        "right"
    )
    worst_by: ClassVar[str] = "mean probability of the tokens, of texts that are not those of the reference"

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """See Review."""
        return slicings(self.examples)

    def claims(self) -> Claims | None:
        """See Review: none."""

    def case(self, row: int) -> Case:
        """See Review: the source, and the differences between reference and prediction."""
        example, prediction = self.examples[row], self.found[row]
        texts = [("source", plain(example["source"]))]
        if prediction is None:
            return Case(texts, gold=example["target"])
        changed = differences(example["target"].split(), prediction.text.split())
        return Case([*texts, ("reference → prediction", changed)])
