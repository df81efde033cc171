"""The recipe sections of classification and regression."""

from pydantic import Field

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe


class LabelData(DataSection):
    """Texts or pairs of texts, each with a label."""

    text_column: str | None = Field(None, description="Column of the text; by default the task's own, or `text`.")
    pair_column: str | None = Field(None, description="Column of the second text, if any; by default the task's own.")
    label_column: str | None = Field(
        None, description="Column of the label; by default `label`, or for `regression` also `score`."
    )


class LabelRecipe(FinetuneRecipe):
    """A classification or regression run."""

    data: LabelData
