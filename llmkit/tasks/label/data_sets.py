"""The datasets of classification: GLUE's, and texts of one's own."""

from __future__ import annotations

from llmkit.tasks.label.glue import GLUE
from llmkit.tasks.label.task import Classification

LABELS = (
    Classification(
        name="classification",
        title="Classification: labels of texts, or of pairs of texts, of your own",
        recipe="classification-bert-base",
        headline=("accuracy", "macro_f1"),
    ),
    *GLUE,
)
