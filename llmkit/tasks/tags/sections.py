"""The recipe sections of tagging."""

from pydantic import Field

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe


class TagData(DataSection):
    """Sentences of words, each with a tag. Sentences longer than max_length are split, not cut."""

    tokens_column: str | None = Field(None, description="Column of the words; `tokens` by default.")
    tags_column: str | None = Field(None, description="Column of the tags; `ner_tags` or `tags` by default.")


class TagRecipe(FinetuneRecipe):
    """A tagging run."""

    data: TagData
