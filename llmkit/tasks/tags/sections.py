"""The recipe sections of tagging."""

from pydantic import Field

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe
from llmkit.tasks.class_weights import ClassTrainSection


class TagData(DataSection):
    """Sentences of words, each with a tag, or texts with entities. Those longer than max_length are split, not cut."""

    tokens_column: str | None = Field(
        None, description="Column of the words, or of a text; by default `tokens`, or else `text`."
    )
    tags_column: str | None = Field(
        None,
        description="Column of the tags, or of a text's entities. By default `ner_tags` or `tags` (for the task `pos`: "
        "`pos_tags`, `upos` or `tags`); of a text `entities`, `spans`, `label` or `labels`.",
    )
    tag_names: list[str] | None = Field(
        None, description="Names of tags that are given by number, in the order of their numbers: `[O, B-PER, I-PER]`."
    )


class TagRecipe(FinetuneRecipe):
    """A tagging run."""

    data: TagData
    train: ClassTrainSection
