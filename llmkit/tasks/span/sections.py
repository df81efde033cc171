"""The recipe sections of extractive question answering."""

import re
from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe
from llmkit.tasks.languages import Language

# Configurations named after the language of their passages: `xquad.zh`, `mlqa.zh.en` (questions in English).
_NAMED = re.compile(r"(?:xquad|mlqa|mlqa-translate-train)\.([a-z]{2})(?:\.[a-z]{2})?")


class SpanData(DataSection):
    """Questions about passages."""

    max_length: Annotated[int, Field(ge=16)] = Field(
        384, description="Maximum tokens of a window: question and passage."
    )
    doc_stride: Annotated[int, Field(ge=0)] = Field(
        128, description="Tokens by which neighbouring windows of a passage overlap."
    )
    max_answer_length: PositiveInt = Field(30, description="Maximum tokens of an answer.")
    null_windows: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Share of the windows without an answer to train on. In long documents most windows have none.",
    )
    language: Language | None = Field(
        None,
        description="Language of the answers, such as `zh`, for the scores: which words are articles, and where a word "
        "ends. A configuration such as `xquad.zh` says it itself. Default: English.",
    )

    @property
    def answer_language(self) -> str | None:
        """The language of the answers; None if neither the configuration's name nor `language` says it."""
        # The name comes first: `language` may be from the run, which was trained on other data.
        match = _NAMED.fullmatch(self.name or "")
        return match[1] if match else self.language

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.doc_stride >= self.max_length - 3:
            raise ValueError(
                f"doc_stride {self.doc_stride} leaves no room in a window of max_length {self.max_length}; "
                "a third of max_length is usual"
            )
        return self


class SpanRecipe(FinetuneRecipe):
    """An extractive question answering run."""

    data: SpanData
