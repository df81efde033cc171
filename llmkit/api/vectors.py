"""`llmkit embed` as a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmkit.api.arguments import PathLike, name_of
from llmkit.api.finished_run import Run

if TYPE_CHECKING:
    from llmkit.models.sentence_settings import Pooling
    from llmkit.tasks.values import Array


def embed(
    model: PathLike | Run,
    texts: Sequence[str],
    *,
    pooling: Pooling | None = None,
    dim: int | None = None,
    normalize: bool = True,
    max_length: int | None = None,
    prompt: str | None = None,
    batch_size: int | None = None,
) -> Array:
    """The vectors of texts, float32 [texts, dim], of length 1 unless `normalize` is false.

    For files larger than memory, use `llmkit embed`.
    """
    from llmkit.commands import embed as command
    from llmkit.tasks.similarity.embedder import Wanted

    wanted = Wanted(pooling, dim, normalize, max_length, prompt)
    return command.embed_in_memory(name_of(model), texts, wanted, batch_size)
