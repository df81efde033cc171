"""The tasks of texts as vectors."""

from __future__ import annotations

from llmkit.tasks.similarity.retrieval import Retrieval
from llmkit.tasks.similarity.task import Similarity

SIMILARITIES = (
    Similarity(
        name="similarity",
        title="Similarity: vectors of texts, scored on pairs that people scored, by default STS-B",
        recipe="similarity-bert-base",
        hub_id="sentence-transformers/stsb",
    ),
    Retrieval(
        name="retrieval",
        title="Retrieval: vectors of texts, scored on finding which of your own belong together, or on a collection",
        recipe="retrieval-bert-base",
    ),
)
