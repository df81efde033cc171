"""A sentence, asked of a server for the tags of its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from llmkit.tasks.served import Input, Output, Served
from llmkit.tasks.tags.offsets import places_of
from llmkit.tasks.tags.rows import TEXT
from llmkit.tasks.values import Prediction


class Sentence(Input):
    """A text, whose words are found in it, or its words."""

    text: str | None = Field(None, min_length=1, examples=["Tom Reed founded Ambury."])
    words: list[str] | None = Field(None, min_length=1, description="The words, in place of a text.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.words is None):
            raise ValueError("give either a text or its words")
        return self


class Word(BaseModel):
    """A word: the characters `start` to `end` of the text, or of the words joined by spaces."""

    text: str
    start: int
    end: int
    tag: str
    probability: float = Field(description="Of the tag, from 0 to 1.")


class Entity(BaseModel):
    """An entity: the characters `start` to `end`, and the words `start_word` to `end_word`. Both ends are exclusive."""

    type: str
    text: str
    start: int
    end: int
    start_word: int
    end_word: int
    score: float = Field(description="The mean probability of its words' tags.")


class Tags(Output):
    """A tag for each word, and the entities that the tags mark."""

    text: str = Field(description="The tags, joined by spaces.")
    score: float = Field(description="The mean probability of the tags, from 0 to 1.")
    words: list[Word]
    entities: list[Entity]


def served_tags(tokens_column: str | None) -> Served:
    """Sentences, which the task reads from this column if it is named."""

    def row(given: Any) -> dict[str, Any]:
        usual, value = ("tokens", given.words) if given.text is None else (TEXT, given.text)
        return {tokens_column or usual: value}

    return Served("tags", {"text": 4}, Sentence, Tags, row, _tags)


def _tags(prediction: Prediction, example: Mapping[str, Any]) -> Tags:
    text, places = places_of(example["tokens"], example["text"])
    tags = prediction.text.split()
    probable = prediction.tags or ({},) * len(tags)
    words = [
        Word(text=text[start:end], start=start, end=end, tag=tag, probability=its.get(tag, 0.0))
        for (start, end), tag, its in zip(places, tags, probable, strict=True)
    ]
    entities = [Entity(**mention) for mention in prediction.as_row()["entities"]]
    return Tags(text=prediction.text, score=prediction.score, words=words, entities=entities)
