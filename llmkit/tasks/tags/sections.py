"""What the recipe of a tagging run may say."""

from pydantic import Field

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe


class TagData(DataSection):
    """Sentences of words with a tag each. A sentence of more tokens than max_length goes through in parts."""

    tokens_column: str | None = Field(None, description="Column of the words: `tokens`.")
    tags_column: str | None = Field(None, description="Column of their tags: `ner_tags`, or `tags`.")


class TagRecipe(FinetuneRecipe):
    """A run on words with tags."""

    data: TagData
