"""`llmkit ask` with a model of similarity: how near two texts are."""

from __future__ import annotations

from pathlib import Path

from llmkit.commands.embed import embed_in_memory
from llmkit.models.checkpoint import Checkpoint
from llmkit.system.console import result
from llmkit.tasks.purpose import purpose_of
from llmkit.tasks.similarity.embedder import Wanted

KIND = "sentence-similarity"  # the Hub's tag of models that compare texts


def compares_texts(model: str) -> bool:
    """Whether a model was trained to compare texts, or is one of sentence-transformers."""
    if (purpose := purpose_of(model)) is not None:
        return purpose.task.pipeline_tag == KIND
    known = Path(model).exists()
    return known and Checkpoint.named(model).file("modules.json") is not None


def similarity(model: str, text: str, other: str) -> float:
    """The cosine of the vectors of two texts, from -1 to 1. Raises UserError."""
    first, second = embed_in_memory(model, [text, other], Wanted())
    return float(first @ second)


def show(cosine: float) -> None:
    """Print it."""
    result(f"{cosine:.4f}")
