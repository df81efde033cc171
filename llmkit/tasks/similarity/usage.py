"""The model card's Python example for similarity and retrieval."""

from __future__ import annotations

from llmkit.tasks.values import Published


def usage_example(model: Published) -> str:
    """See Task."""
    return f'''from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{model.name}")  # or a folder with its files
vectors = model.encode(["A ship sails.", "A ship is sailing.", "It rains."])
print(model.similarity(vectors, vectors))'''
