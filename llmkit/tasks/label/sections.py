"""What the recipe of a classification run may say."""

from pydantic import Field

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe


class LabelData(DataSection):
    """Texts, or pairs of texts, with a label."""

    text_column: str | None = Field(None, description="Column of the text: the task's own, or `text`.")
    pair_column: str | None = Field(None, description="Column of a second text, where there is one.")
    label_column: str | None = Field(None, description="Column of the label: `label`.")


class LabelRecipe(FinetuneRecipe):
    """A run on texts with labels."""

    data: LabelData
