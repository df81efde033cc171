"""The classification and regression tasks: GLUE, and the user's own data."""

from __future__ import annotations

from llmkit.tasks.label.glue import GLUE
from llmkit.tasks.label.multilabel import MultiLabel
from llmkit.tasks.label.regression import Regression
from llmkit.tasks.label.task import Classification

LABELS = (
    Classification(
        name="classification",
        title="Classification: your own texts or pairs of texts, with labels",
        recipe="classification-bert-base",
        headline=("accuracy", "macro_f1"),
    ),
    MultiLabel(
        name="multilabel",
        title="Classification: your own texts or pairs of texts, each with any number of labels",
        recipe="multilabel-bert-base",
    ),
    Regression(
        name="regression",
        title="Regression: your own texts or pairs of texts, with numbers",
        recipe="regression-bert-base",
    ),
    *GLUE,
)
