"""The recipe sections of classification, with one label or several, and of regression."""

from __future__ import annotations

from typing import Self

from pydantic import Field, ValidationInfo, model_validator

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe
from llmkit.tasks.class_weights import ClassTrainSection


class LabelData(DataSection):
    """Texts or pairs of texts, each with a label."""

    text_column: str | None = Field(None, description="Column of the text; by default the task's own, or `text`.")
    pair_column: str | None = Field(None, description="Column of the second text, if any; by default the task's own.")
    label_column: str | None = Field(
        None,
        description="Column of the label; by default `label`, for `regression` also `score`, and for `multilabel` "
        "`labels` or `label`.",
    )


class LabelRecipe(FinetuneRecipe):
    """A classification or regression run."""

    data: LabelData
    train: ClassTrainSection

    @model_validator(mode="after")
    def _numbers_are_no_classes(self, info: ValidationInfo) -> Self:
        task = (info.context or {}).get("tasks", {}).get(self.task)
        if self.train.class_weights is not None and not getattr(task, "has_classes", True):
            raise ValueError(f"train.class_weights has no effect on {self.task}, which learns numbers")
        return self


class MultiLabelRecipe(FinetuneRecipe):
    """A run of classification with several labels per text."""

    data: LabelData
