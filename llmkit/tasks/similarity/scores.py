"""Scores of similarity: rank correlations with people's scores; and of retrieval, on the ten documents found first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.tasks.measures import Measured, mean_of
from llmkit.tasks.similarity.collection import Collection, collection_of
from llmkit.tasks.values import Array, Prediction, by_id

if TYPE_CHECKING:
    from datasets import Dataset

FIRST = 10  # documents of a query that are kept and scored


def similarity_measures(
    predictions: Sequence[Prediction], examples: Dataset, wanted: Sequence[str]
) -> dict[str, Measured]:
    """Correlations of cosines with gold scores, in percent. A missing prediction counts as a cosine of 0."""
    from llmkit.tasks.label.scores import number_measures

    return number_measures(predictions, examples, wanted, missing=0.0)


def retrieval_measures(predictions: Sequence[Prediction], examples: Dataset) -> dict[str, Measured]:
    """nDCG, MRR and recall of the first ten documents, and how often the first one is right: means over queries.

    A document is relevant or not, as in sentence-transformers' InformationRetrievalEvaluator. Queries for one document
    are resampled together.
    """
    collection = collection_of(examples)
    found = by_id(predictions, examples)
    hits = np.zeros((len(collection.queries), FIRST))
    relevant = np.empty(len(collection.queries))
    for number, query in enumerate(collection.queries):
        prediction = found[query.example]
        keys = [candidate.text for candidate in prediction.candidates][:FIRST] if prediction is not None else []
        hits[number, : len(keys)] = [key in query.relevant for key in keys]
        relevant[number] = len(query.relevant)
    groups = _groups(collection)
    return {name: Measured(mean_of(values), groups) for name, values in _values(hits, relevant).items()}


def _values(hits: Array, relevant: Array) -> dict[str, Array]:
    """The scores of each query, from 0 to 1. `hits` [queries, FIRST] says which of the first ones are `relevant`."""
    discounts = 1 / np.log2(np.arange(2, FIRST + 2))
    best = np.cumsum(discounts)[np.minimum(relevant, FIRST).astype(int) - 1]
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    return {
        "ndcg@10": hits @ discounts / best,
        "mrr@10": first,
        "recall@10": hits.sum(axis=1) / relevant,
        "accuracy@1": hits[:, 0],
    }


def _groups(collection: Collection) -> list[Any]:
    """Queries of pairs by the document that belongs to them; those of a collection one by one."""
    if not collection.of_pairs:
        return [query.example for query in collection.queries]
    return [min(query.relevant) for query in collection.queries]
