"""What a report says of similarity and retrieval: slices by length, and the worst errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmkit.tasks.label import slices
from llmkit.tasks.measures import Measured, mean_of
from llmkit.tasks.review import Review
from llmkit.tasks.shown import Case, plain
from llmkit.tasks.similarity.collection import Collection, collection_of
from llmkit.tasks.slices import Sliced, Slicing, in_quarters, number_of_words
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from datasets import Dataset


class SimilarityReview(Review):
    """Cosines of pairs beside people's scores."""

    unclaimed: ClassVar[str] = "a cosine comes without a confidence"
    worst_by: ClassVar[str] = "distance between the rank of the cosine and that of the score"

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """See Review."""
        return slices.slicings(self.examples)

    def sliced(self, train: Dataset | None) -> Iterator[Sliced]:
        """See Review: how far ranks are apart, since a correlation in a slice depends on how much its scores differ."""
        distances = np.nan_to_num(self.errors(), nan=1.0)
        yield Sliced("pairs", "rank distance", Measured(mean_of(distances), self.groups), self.slicings, is_error=True)

    def errors(self) -> Array:
        """See Review: how far apart the ranks are, from 0 to 1."""
        found = np.array([np.nan if each is None else float(each.text) for each in self.found])
        gold = np.array([float(label) for label in self.examples["label"][:]])
        distances: Array = np.abs(_ranks(found) - _ranks(gold)) / max(1, len(gold) - 1)
        return np.where(np.isnan(found), np.nan, distances)

    def case(self, row: int) -> Case:
        """See Review."""
        example, prediction = self.examples[row], self.found[row]
        texts = [(name, plain(example[name])) for name in ("text", "pair")]
        return Case(texts, example["label"], prediction.text if prediction is not None else "")


class RetrievalReview(Review):
    """The documents that were found for each query. Examples are queries first, documents behind them."""

    unclaimed: ClassVar[str] = "the documents of a collection are examples too, which nothing is predicted for"
    worst_by: ClassVar[str] = "confidence in a document that does not belong to the query"

    @cached_property
    def collection(self) -> Collection:
        """What is searched."""
        return collection_of(self.examples)

    @cached_property
    def slicings(self) -> Sequence[Slicing]:
        """See Review."""
        queries, documents = self.collection.queries, self.collection.documents
        wanted = [documents[min(query.relevant)] for query in queries]
        return [
            in_quarters("words of the query", number_of_words([query.text for query in queries])),
            in_quarters("words of a relevant document", number_of_words(wanted)),
        ]

    def case(self, row: int) -> Case:
        """See Review."""
        query, prediction = self.collection.queries[row], self.found[row]
        documents = self.collection.documents
        found = documents[prediction.text] if prediction is not None else ""
        texts = [("query", plain(query.text)), ("found", plain(found))]
        return Case(texts, documents[min(query.relevant)], prediction.text if prediction is not None else "")


def _ranks(values: Array) -> Array:
    """Ranks from 0; equal values share their mean rank."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts + 1) / 2)[codes]
    return ranks
