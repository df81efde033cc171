"""Why pairs of similarity are not edited in audits."""

from __future__ import annotations

from typing import ClassVar

from llmkit.tasks.editor import Editor


class SimilarityEditor(Editor):
    """Edits nothing."""

    unedited: ClassVar[str | None] = "how similar two texts are may change with any of their words"
