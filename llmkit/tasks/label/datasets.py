"""The classification and regression tasks: GLUE, and the user's own data."""

from __future__ import annotations

from llmkit.tasks.label.glue import GLUE
from llmkit.tasks.label.regression import Regression
from llmkit.tasks.label.task import Classification

LABELS = (
    Classification(
        name="classification",
        title="Classification: your own texts or pairs of texts, with labels",
        recipe="classification-bert-base",
        headline=("accuracy", "macro_f1"),
    ),
    Regression(
        name="regression",
        title="Regression: your own texts or pairs of texts, with numbers",
        recipe="regression-bert-base",
    ),
    *GLUE,
)
