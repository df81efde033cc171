"""What the recipe of a run that generates texts may say."""

from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from llmkit.recipes.finetuning import DataSection, FinetuneModelSection, FinetuneRecipe
from llmkit.recipes.pretraining import Section, TrainSection

VocabularySize = Annotated[int, Field(ge=300, le=2**31 - 1)]


class TextModelSection(FinetuneModelSection):
    """The encoder-decoder: a checkpoint of one, or two BERTs.

    `pretrained` names an encoder-decoder, or an encoder: then both halves start from its weights, attention from the
    decoder to the encoder from random ones. `config` is the shape of both halves, from random weights.
    """

    vocab_size: VocabularySize | None = Field(
        None,
        description="Beside `config`, in place of `tokenizer`: train a BPE vocabulary of this size on the texts of the "
        "training examples, sources and targets alike.",
    )
    decoder_vocab_size: VocabularySize | None = Field(
        None,
        description="Train a BPE vocabulary of this size on the targets alone, for the decoder; the encoder keeps its "
        "own. Without it both halves share one.",
    )

    @model_validator(mode="after")
    def _one_vocabulary(self) -> Self:
        if self.vocab_size is not None and self.tokenizer is not None:
            raise ValueError("give either tokenizer or vocab_size")
        if self.vocab_size is not None and self.pretrained is not None:
            raise ValueError("vocab_size has no effect beside pretrained: a checkpoint holds its vocabulary")
        return self

    def _has_vocabulary(self) -> bool:
        return self.tokenizer is not None or self.vocab_size is not None

    def _vocabularies(self) -> str:
        return "a vocabulary: model.vocab_size=8000, or model.tokenizer=HUB_ID_OR_FOLDER"


class TextData(DataSection):
    """Texts to turn into other texts."""

    max_target_length: Annotated[int, Field(ge=4)] = Field(
        128, description="Tokens of a target; what is longer is cut, and no longer text is written."
    )
    source_column: str | None = Field(
        None, description="Column of the source, or its language where rows have a `translation`: the task's own."
    )
    target_column: str | None = Field(None, description="The same of the target.")
    source_prefix: str = Field("", description="Put before every source, as T5 wants: `translate English to German: `.")
    database: str | None = Field(
        None,
        description="For SQL: an SQLite file, or Spider's folder of them: queries are run and results compared.",
    )

    @classmethod
    def places(cls) -> frozenset[str]:
        """See DataSection."""
        return cls.origin() | {"database"}


class GenerationSection(Section):
    """How texts are searched for: names of transformers' `GenerationConfig`, kept with the model."""

    num_beams: PositiveInt = Field(4, description="Beams; 1 takes the likeliest token each time.")
    length_penalty: float = Field(1.0, description="Of beams: above 0, longer texts are favoured.")
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = Field(
        0, description="Size of n-grams that may occur once only; 0 for none."
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
    """A run on texts to turn into other texts."""

    model: TextModelSection
    data: TextData
    train: TextTrainSection
    generation: GenerationSection = GenerationSection()
