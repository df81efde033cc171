"""What retrieval searches: documents, and queries with the documents that are relevant for them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llmkit.tasks.values import Array, Candidate, Prediction, softmax

if TYPE_CHECKING:
    from datasets import Dataset

SCALE = 20.0  # of cosines: that of the loss, so the probabilities are those that it learns
QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class Query:
    """A query: the number of its example, its text, and the keys of the documents that are relevant."""

    example: int
    text: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class Collection:
    """Documents by key, and queries. Those of pairs are the first texts; the second ones and the negatives are the
    documents, each once, with the id of the first example that has it as its key."""

    documents: dict[str, str]
    queries: list[Query]
    of_pairs: bool


def collection_of(examples: Dataset) -> Collection:
    """The collection that examples are."""
    ids, roles, texts = (examples[name][:] for name in ("id", "role", "text"))
    if "query" in roles:
        documents = {one: text for one, role, text in zip(ids, roles, texts, strict=True) if role == "document"}
        relevant = examples["relevant"][:]
        numbers = [number for number, role in enumerate(roles) if role == "query"]
        return Collection(documents, [Query(n, texts[n], frozenset(relevant[n])) for n in numbers], of_pairs=False)
    pairs, negatives = examples["pair"][:], examples["negative"][:]
    key_of: dict[str, str] = {}
    for one, pair in zip(ids, pairs, strict=True):
        key_of.setdefault(pair, one)
    for one, negative in zip(ids, negatives, strict=True):
        if negative is not None:
            key_of.setdefault(negative, f"{one} negative")
    belong: dict[str, set[str]] = defaultdict(set)
    for text, pair in zip(texts, pairs, strict=True):
        belong[text].add(key_of[pair])
    queries = [Query(number, text, frozenset(belong[text])) for number, text in enumerate(texts)]
    return Collection({key: text for text, key in key_of.items()}, queries, of_pairs=True)


def ranked(collection: Collection, ids: list[str], queries: Array, documents: Array, first: int) -> list[Prediction]:
    """The `first` documents of each query by the cosine of their vectors, both [n, D] and of length 1.

    `ids` are those of all examples. Equal cosines are in the order of their keys.
    """
    keys = np.array(list(collection.documents))
    by_key = np.argsort(keys, kind="stable")
    keys, documents = keys[by_key], documents[by_key]
    found = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        cosines = queries[start : start + QUERIES_AT_ONCE] @ documents.T
        probabilities = softmax(SCALE * cosines)
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :first]
        for query, order, cosine, probable in zip(
            collection.queries[start : start + QUERIES_AT_ONCE], best, cosines, probabilities, strict=True
        ):
            candidates = tuple(Candidate(str(keys[n]), None, None, float(cosine[n]), float(probable[n])) for n in order)
            found.append(
                Prediction(ids[query.example], candidates[0].text, candidates[0].probability, candidates=candidates)
            )
    return found
