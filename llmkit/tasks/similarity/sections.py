"""The recipe sections of similarity and retrieval."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from llmkit.models.sentence_settings import Pooling
from llmkit.recipes.finetuning import DataSection, FinetuneModelSection, FinetuneRecipe


class SimilarityModel(FinetuneModelSection):
    """The encoder to fine-tune, and how it makes one vector of a text."""

    pooling: Pooling | None = Field(
        None,
        description="How the states of a text's tokens become one vector: their `mean`, that of the first token "
        "(`cls`), or the largest number of each place (`max`). By default what the checkpoint says, or `mean`.",
    )
    matryoshka: list[int] | None = Field(
        None,
        description="Lengths at which vectors are to be useful, such as `[384, 128, 64]`: the loss is the sum of those "
        "of the first so many numbers of each vector (Kusupati et al. 2022). Name the whole length too.",
    )

    @field_validator("matryoshka")
    @classmethod
    def _lengths(cls, dims: list[int] | None) -> list[int] | None:
        if dims is not None and (not dims or min(dims) < 1 or len(set(dims)) < len(dims)):
            raise ValueError("should be different whole numbers above 0, such as [384, 128, 64]")
        return dims


class SimilarityData(DataSection):
    """Pairs of texts, with or without a score, or triplets."""

    text_column: str | None = Field(
        None, description="Column of the first text; by default `anchor`, `sentence1`, `query`, `question` or `text`."
    )
    pair_column: str | None = Field(
        None, description="Column of the second one; by default `positive`, `sentence2`, `passage`, `answer` or `pair`."
    )
    negative_column: str | None = Field(
        None, description="Column of a text that is not meant, if there is one; by default `negative`."
    )
    score_column: str | None = Field(
        None, description="Column of how similar a pair is, a number, if there is one; by default `score` or `label`."
    )


class SimilarityRecipe(FinetuneRecipe):
    """A run of similarity or retrieval."""

    model: SimilarityModel
    data: SimilarityData

    @model_validator(mode="after")
    def _negatives_are_in_the_batch(self) -> Self:
        if self.train.per_device_train_batch_size < 2:
            raise ValueError(
                "train.per_device_train_batch_size: pairs are compared with the others of their batch, so 1 is too few"
            )
        return self
