"""Vectors of texts, scored on finding the texts that belong to a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.bootstrap import scores_of
from llmkit.tasks.similarity.collection import collection_of, ranked
from llmkit.tasks.similarity.rows import ROLE, form_of
from llmkit.tasks.similarity.scores import FIRST, retrieval_measures
from llmkit.tasks.similarity.sections import SimilarityData
from llmkit.tasks.similarity.task import FORMS, Similarity, vectors_of
from llmkit.tasks.values import Array, Codec, LocatedRow, Outputs, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review


@dataclass(frozen=True)
class Retrieval(Similarity):
    """How well the text that belongs to another one is found among all texts."""

    metric: str = "ndcg@10"
    headline: tuple[str, ...] = ("ndcg@10", "mrr@10", "recall@10", "accuracy@1")
    item: str = "query text"

    @property
    def columns(self) -> tuple[str, ...]:
        """See Task."""
        return ("anchor", "positive")

    def rows(self, data: SimilarityData, split: str, part: str) -> Iterator[LocatedRow]:
        """See Task. A folder or a dataset may be a collection."""
        from llmkit.tasks.similarity.beir import collection_rows, place_of

        place = place_of(data, split)
        return super().rows(data, split, part) if place is None else collection_rows(place, data, split)

    def first(self, rows: Iterator[LocatedRow], limit: int | None) -> Iterator[LocatedRow]:
        """See Task. Of a collection, the first queries and all documents, among which they are to find theirs."""
        taken = 0
        for place, row in rows:
            role = row.get(ROLE) if isinstance(row, Mapping) else None
            taken += role != "document"
            if role == "document" or limit is None or taken <= limit:
                yield place, row
            elif role != "query":  # no collection, so no document follows
                return

    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: SimilarityData,
        *,
        threshold: Any = None,
    ) -> list[Prediction]:
        """See Task: the documents found first for each query. Of rows to predict, the cosine of each pair."""
        if "asked" in examples["role"][:]:
            return super().decode(outputs, features, examples, codec, data, threshold=threshold)
        vectors, number_of = vectors_of(outputs, examples)
        collection = collection_of(examples)
        queries = vectors[[number_of[query.text] for query in collection.queries]]
        documents = vectors[[number_of[text] for text in collection.documents.values()]]
        found = ranked(collection, examples["id"][:], queries, documents, FIRST)
        # The documents of a collection are examples behind the queries, and have an empty prediction.
        return found + [Prediction(key, "", 0.0) for key in collection.documents if not collection.of_pairs]

    def check_scores(self, examples: Dataset, data: SimilarityData) -> None:
        """See Task. Raises UserError for scored pairs, of which no text is known to belong to another."""
        if (form := form_of(examples)) in ("scored", "mixed") and "query" not in examples["role"][:]:
            raise UserError(
                f"{self.name} is scored on texts that belong together; the validation data are {FORMS.get(form, form)}",
                remedy="give pairs without a score, triplets or a collection; or score cosines: --task similarity",
            )

    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: SimilarityData) -> dict[str, Any]:
        """See Task. `documents` is how many there are to find."""
        found = scores_of(self.measures(predictions, examples, data))
        collection = collection_of(examples)
        return {**found, "total": len(collection.queries), "documents": len(collection.documents)}

    def measures(
        self, predictions: Sequence[Prediction], examples: Dataset, data: SimilarityData
    ) -> dict[str, Measured]:
        """See Task."""
        return retrieval_measures(predictions, examples)

    def correct(self, predictions: Sequence[Prediction], examples: Dataset, data: SimilarityData) -> Array | None:
        """See Task: whether the first document belongs to the query. None for collections."""
        collection = collection_of(examples)
        if not collection.of_pairs:
            return None
        found = by_id(predictions, examples)
        return np.array(
            [
                one is not None and one.text in query.relevant
                for one, query in zip(found, collection.queries, strict=True)
            ]
        )

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: SimilarityData) -> Review:
        """See Task."""
        from llmkit.tasks.similarity.review import RetrievalReview

        return RetrievalReview(self, predictions, examples, data)
