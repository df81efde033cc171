"""The recipe sections of text generation."""

from typing import Annotated, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from llmkit.recipes.finetuning import DataSection, FinetuneModelSection, FinetuneRecipe
from llmkit.recipes.pretraining import TrainSection
from llmkit.recipes.section import Section
from llmkit.recipes.shapes import Shape
from llmkit.tasks.languages import Language, language_of

VocabularySize = Annotated[int, Field(ge=300, le=2**31 - 1)]


class TextModelSection(FinetuneModelSection):
    """The encoder-decoder: a checkpoint, or two BERTs.

    `pretrained` names an encoder-decoder, or an encoder whose weights both halves start from; cross-attention is then
    random. `config` is the shape of both halves, with random weights.
    """

    vocab_size: VocabularySize | None = Field(
        None,
        description="With `config`, instead of `tokenizer`: train a BPE vocabulary of this size on the sources and "
        "targets of the training examples.",
    )
    decoder_vocab_size: VocabularySize | None = Field(
        None,
        description="Train a separate BPE vocabulary of this size for the decoder, on the targets. By default encoder "
        "and decoder share one vocabulary.",
    )

    @field_validator("config")
    @classmethod
    def _can_write(cls, config: Shape | None) -> Shape | None:
        if config is not None and config.model_type == "modernbert":
            raise ValueError("a ModernBERT reads only: it has no decoder to write texts with; use model_type: bert")
        return config

    @model_validator(mode="after")
    def _one_vocabulary(self) -> Self:
        if self.vocab_size is not None and self.tokenizer is not None:
            raise ValueError("give either tokenizer or vocab_size")
        if self.vocab_size is not None and self.pretrained is not None:
            raise ValueError("vocab_size has no effect with pretrained: a checkpoint holds its vocabulary")
        return self

    def _has_vocabulary(self) -> bool:
        return self.tokenizer is not None or self.vocab_size is not None

    def _vocabularies(self) -> str:
        return "a vocabulary: model.vocab_size=8000, or model.tokenizer=HUB_ID_OR_FOLDER"


class TextData(DataSection):
    """Source texts, each with a target text."""

    max_target_length: Annotated[int, Field(ge=4)] = Field(
        128, description="Maximum tokens of a target. Longer targets are cut; generation stops at this length."
    )
    source_column: str | None = Field(
        None,
        description="Column of the source, or its language if rows have a `translation`; by default the task's own.",
    )
    target_column: str | None = Field(None, description="Column or language of the target; by default the task's own.")
    target_language: Language | None = Field(
        None,
        description="Language of the targets, such as `zh`, for the scores: how texts are cut into words. By default "
        "the letters of the targets tell, and before them, for translations, a `target_column` such as `zh`.",
    )
    source_prefix: str = Field(
        "", description="Text to put before every source, as T5 expects: `translate English to German: `."
    )
    database: str | None = Field(
        None,
        description="For SQL: an SQLite file, or Spider's folder of databases. Queries are run and results compared.",
    )

    @property
    def language_of_targets(self) -> str | None:
        """`target_language`, or else `target_column` if it has the form of a code."""
        return self.target_language or language_of(self.target_column or "")

    @classmethod
    def places(cls) -> frozenset[str]:
        """See DataSection."""
        return cls.origin() | {"database"}


class GenerationSection(Section):
    """How to generate texts: keys of transformers' `GenerationConfig`, saved with the model."""

    num_beams: PositiveInt = Field(4, description="Beams; 1 for greedy search.")
    length_penalty: float = Field(1.0, description="For beam search: values above 0 favour longer texts.")
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = Field(
        0, description="Size of n-grams that may not repeat; 0 for no limit."
    )

    @model_validator(mode="after")
    def _beams(self) -> Self:
        if self.num_beams == 1 and self.length_penalty != 1.0:
            raise ValueError("length_penalty has no effect with one beam: num_beams 1")
        return self


class TextTrainSection(TrainSection):
    """How to train an encoder-decoder."""

    label_smoothing_factor: Annotated[float, Field(ge=0, lt=1)] = 0.0


class TextRecipe(FinetuneRecipe):
    """A text generation run."""

    model: TextModelSection
    data: TextData
    train: TextTrainSection
    generation: GenerationSection = GenerationSection()
