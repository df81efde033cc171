"""The corpus section of pretraining recipes, and the tokenizing recipe.

Keys that only llmkit has end their description with "(llmkit only.)".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveFloat,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from llmkit.recipes.section import Section


def _source(value: Any) -> Any:
    """Parse `PATH[,key=value…]`, the form that `-c` takes, into a mapping. Other values pass through."""
    if not isinstance(value, str):
        return value
    path, *options = value.split(",")
    fields: dict[str, Any] = {"path": path}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ValueError(f"{option!r} in {value!r} is not key=value")
        fields[key.strip()] = float(text) if key == "weight" and re.fullmatch(r"[\d.]+", text) else text
    return fields


class Source(Section):
    """A source of documents."""

    path: str = Field(
        description="`wikipedia`, `bookcorpus`, `fineweb-edu`, `c4`, `demo`; a file (`.txt`, `.md`, `.jsonl`, `.json`, "
        "`.csv`, `.tsv`, also with `.gz`, `.bz2`, `.xz` or `.zst`, or `.parquet`), a folder or a glob of them; a URL "
        "of these (`https://`, `s3://`, `gs://`, `hf://`, …); or the id of a dataset on the Hub."
    )
    name: str | None = Field(None, description="Configuration of a Hub dataset, such as `20231101.en`.")
    split: str = Field("train", description="Split of a Hub dataset.")
    revision: str | None = Field(None, description="Revision of a Hub dataset.")
    text_column: str = Field("text", description="Column or field with the text.")
    documents: Literal["file", "blank_line", "line"] | None = Field(
        None,
        description="How a `.txt` or `.md` file is split into documents: the whole file is one, blank lines separate "
        "them, or each line is one. By default, each of several files is one, and a file that is alone is split at its "
        "blank lines, or else into its lines.",
    )
    weight: PositiveFloat = Field(
        1.0,
        description="How often each document is read per epoch: 2 reads it twice, 0.5 reads every other document.",
    )


GivenSource = Annotated[Source, BeforeValidator(_source)]


def _once(source: Source) -> Source:
    """Refuse a weight for a source to evaluate on."""
    if source.weight != 1:
        raise ValueError("weight has no effect: each document is evaluated once")
    return source


def _one_or_two(value: Any) -> Any:
    """Check a fraction, or a pair of them."""
    given = value if isinstance(value, list) and len(value) == 2 else [value]
    if not all(isinstance(fraction, float) and 0 < fraction < 1 for fraction in given):
        raise ValueError(f"should be a number between 0 and 1, or two of them such as [0.3, 0.15], got {value!r}")
    return value


_FRACTION = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
OneOrTwo = Annotated[
    float | list[float],
    BeforeValidator(_one_or_two),
    WithJsonSchema({"anyOf": [_FRACTION, {"type": "array", "items": {"type": "number"}}]}),
]

Masking = Literal["tokens", "whole_words", "spans"]

SMALLEST_BPE = 261  # 256 bytes and five special tokens


class TokenizerSection(Section):
    """The tokenizer: an existing one, or one to train on the corpus."""

    path: str | None = Field(None, description="Tokenizer to load: Hub id or folder.")
    type: Literal["wordpiece", "unigram", "bpe"] = Field(
        "wordpiece",
        description="Tokenizer to train: `wordpiece` like BERT's; `unigram` like SentencePiece's, which learns words "
        "in scripts without spaces too; or byte-level `bpe`, to which no character is unknown.",
    )
    vocab_size: Annotated[int, Field(ge=100, le=2**31 - 1)] | None = Field(
        None,
        description="Vocabulary size of the tokenizer to train. 30522 if no path is given.",
    )
    lowercase: bool = Field(True, description="Lowercase and strip accents, as bert-base-uncased does.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.path is not None and self.model_fields_set & {"type", "vocab_size", "lowercase"}:
            raise ValueError("path loads an existing tokenizer; type, vocab_size and lowercase have no effect with it")
        if self.type == "bpe" and self.size_to_train < SMALLEST_BPE:
            raise ValueError(f"with type=bpe, vocab_size should be at least {SMALLEST_BPE}: every byte has a token")
        return self

    @property
    def size_to_train(self) -> int:
        """The vocabulary size of a tokenizer to train."""
        return self.vocab_size or 30522


class CorpusSection(Section):
    """The text for pretraining: token shards from `llmkit tokenize`, or sources to tokenize first."""

    path: str | None = Field(None, description="Folder of token shards, written by `llmkit tokenize -o`.")
    sources: list[GivenSource] | None = Field(
        None,
        description="Sources to tokenize first, each written as for `llmkit tokenize -c` or as a mapping.",
    )
    tokenizer: TokenizerSection = Field(TokenizerSection(), description="Tokenizer for `sources`.")
    block_size: Annotated[int, Field(ge=8)] = Field(128, description="Tokens per training block.")
    mlm_probability: OneOrTwo = Field(
        0.15,
        description="Fraction of tokens to predict. Of a pair such as `[0.3, 0.15]`, the first is for the beginning of "
        "the run and the second for its end; in between it changes linearly, with "
        "`train.lr_scheduler_type=warmup_stable_decay` during the decay. (Pairs are llmkit only.)",
    )
    eval_mlm_probability: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.15,
        description="Fraction of tokens to predict in evaluations. These always mask single tokens, the same ones for "
        "every seed, so that the losses of runs can be compared. (llmkit only.)",
    )
    masking: Masking = Field(
        "tokens",
        description="What is masked together: nothing (`tokens`), the pieces of a word (`whole_words`), or `spans` of "
        "one to ten words, as in SpanBERT. (llmkit only.)",
    )
    also_evaluate: dict[str, Annotated[Source, BeforeValidator(_source), AfterValidator(_once)]] = Field(
        {},
        description="Further corpora to measure the loss on at every evaluation, by a name of your choice: token "
        "shards, whose held-out part is evaluated, or a source as for `llmkit tokenize -c`, all of whose text is. Of a "
        "source that the run also trains on, only the held-out part is. The scores are `NAME_loss` and "
        "`NAME_perplexity`; they decide nothing. (llmkit only.)",
    )

    @field_validator("eval_mlm_probability", mode="before")
    @classmethod
    def _given(cls, fraction: Any) -> Any:
        """Refuse null: it stands for a run that an older llmkit started, see training/resuming.py."""
        if fraction is None:
            raise ValueError("should be a number between 0 and 1, got None")
        return fraction

    @field_validator("also_evaluate")
    @classmethod
    def _names(cls, corpora: dict[str, Source]) -> dict[str, Source]:
        for name in corpora:
            if not re.fullmatch(r"[\w-]+", name):
                raise ValueError(f"a name is made of letters, digits, - and _: {name!r} is not")
        return corpora

    @model_validator(mode="before")
    @classmethod
    def _older_key(cls, values: Any) -> Any:
        """Read `whole_word_mask`, as `masking` was called when it was true or false."""
        if not isinstance(values, Mapping) or "whole_word_mask" not in values:
            return values
        values = dict(values)
        whole_words = values.pop("whole_word_mask")
        if "masking" in values:
            raise ValueError("whole_word_mask is the older name of masking: leave it out")
        if not isinstance(whole_words, bool):
            raise ValueError("whole_word_mask is the older name of masking: write masking: whole_words")
        return {**values, "masking": "whole_words" if whole_words else "tokens"}

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.path is None) == (self.sources is None):
            raise ValueError("give either path (token shards) or sources (text to tokenize)")
        if self.path is not None and "tokenizer" in self.model_fields_set:
            raise ValueError("tokenizer has no effect with path: token shards include their tokenizer")
        if self.sources is not None and not self.sources:
            raise ValueError("sources is empty")
        return self

    @property
    def probabilities(self) -> tuple[float, float]:
        """The fraction of tokens to predict, at the beginning and at the end of a run."""
        given = self.mlm_probability
        return (given[0], given[-1]) if isinstance(given, list) else (given, given)


class TokenizeRecipe(Section):
    """Settings of `llmkit tokenize`: sources from `-c`, the rest from overrides."""

    sources: list[GivenSource]
    tokenizer: TokenizerSection = TokenizerSection()
