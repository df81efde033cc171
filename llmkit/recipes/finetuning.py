"""What a fine-tuning run is told. The sections of data and model are those of the task's head: a passage has windows,
a translation a beam.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from llmkit.recipes.pretraining import ModelSection, Section, Share, TrainSection
from llmkit.system.errors import did_you_mean

Head = Literal["span", "label", "tags", "text"]


class TaskFacts(Protocol):
    """What a recipe needs to know of a task."""

    @property
    def head(self) -> Head:
        """The model head it needs."""
        ...

    @property
    def hub_id(self) -> str | None:
        """Its data set on the Hub, which is used where a recipe names no data."""
        ...

    @property
    def hub_name(self) -> str | None:
        """The configuration of that data set."""
        ...

    @property
    def hub_revision(self) -> str | None:
        """The revision of that data set, where its main one cannot be read."""
        ...


class FinetuneModelSection(ModelSection):
    """The model to fine-tune. A shape needs a tokenizer; a checkpoint holds its own."""

    tokenizer: str | None = Field(None, description="Hub id, folder or run of the tokenizer, beside `config`.")
    attention_probs_dropout_prob: Share | None = Field(
        None,
        description="Attention dropout while fine-tuning a checkpoint, whatever it was pretrained with: 0 where none "
        "is given, since attention runs on faster kernels then. Hidden dropout stays.",
    )

    @model_validator(mode="after")
    def _tokenizer_beside_config(self) -> Self:
        if self.config is not None and not self._has_vocabulary():
            raise ValueError(f"config needs {self._vocabularies()}")
        if self.pretrained is not None and self.tokenizer is not None:
            raise ValueError("tokenizer has no effect beside pretrained: a checkpoint holds its tokenizer")
        if self.config is not None and self.attention_probs_dropout_prob is not None:
            raise ValueError("attention_probs_dropout_prob has no effect beside config, which has its own")
        return self

    def _has_vocabulary(self) -> bool:
        return self.tokenizer is not None

    def _vocabularies(self) -> str:
        return "a tokenizer: model.tokenizer=HUB_ID_OR_FOLDER"


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


class DataSection(Section):
    """Where examples come from."""

    path: str | None = Field(
        None,
        description="Hub id, folder with one file per split (`train*`, `validation*` or `dev*`, `test*`), or `demo`. "
        "Where neither it nor a file is given, the task's own data set on the Hub.",
    )
    name: str | None = Field(None, description="Configuration of a Hub data set.")
    revision: str | None = Field(None, description="Revision of a Hub data set.")
    train: str | None = Field(None, description="File with training examples.")
    validation: str | None = Field(None, description="File with validation examples.")
    test: str | None = Field(None, description="File with test examples.")
    max_length: Annotated[int, Field(ge=16)] = Field(128, description="Tokens of an input; what is longer is cut.")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        files = [self.train, self.validation, self.test]
        if self.path is None and not any(files):
            raise ValueError("give path (Hub id or folder), or files: train, validation, test")
        if self.path is not None and any(files):
            raise ValueError("path names all splits; train, validation and test have no effect beside it")
        return self

    @staticmethod
    def origin() -> frozenset[str]:
        """The keys that say where examples come from, in place of how they are read."""
        return frozenset({"path", "name", "revision", "train", "validation", "test"})


class SpanData(DataSection):
    """Questions on passages."""

    max_length: Annotated[int, Field(ge=16)] = Field(384, description="Tokens in a window: question and passage.")
    doc_stride: Annotated[int, Field(ge=0)] = Field(
        128, description="Tokens by which neighbouring windows of a passage overlap."
    )
    max_answer_length: PositiveInt = Field(30, description="Tokens in the longest answer that is considered.")
    null_windows: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Share of the windows without an answer that are trained on: of a long document nearly all are.",
    )

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.doc_stride >= self.max_length - 3:
            raise ValueError(
                f"doc_stride {self.doc_stride} leaves no room in a window of max_length {self.max_length}; "
                "a third of max_length is usual"
            )
        return self


class LabelData(DataSection):
    """Texts, or pairs of texts, with a label."""

    text_column: str | None = Field(None, description="Column of the text: the task's own, or `text`.")
    pair_column: str | None = Field(None, description="Column of a second text, where there is one.")
    label_column: str | None = Field(None, description="Column of the label: `label`.")


class TagData(DataSection):
    """Sentences of words with a tag each. A sentence of more tokens than max_length goes through in parts."""

    tokens_column: str | None = Field(None, description="Column of the words: `tokens`.")
    tags_column: str | None = Field(None, description="Column of their tags: `ner_tags`, or `tags`.")


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


class FinetuneRecipe(Section):
    """A run of `llmkit finetune`: what is the same for every head."""

    name: str = Field(description="Name of the run: its folder is runs/NAME unless -o says otherwise.")
    task: str = Field(description="A task, as `llmkit tasks` lists them.")
    model: FinetuneModelSection
    data: DataSection
    train: TrainSection

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str, info: ValidationInfo) -> str:
        tasks: Mapping[str, TaskFacts] = (info.context or {}).get("tasks", {task: None})
        if task not in tasks:
            raise ValueError(f"unknown task{did_you_mean(task, tasks)}; tasks are {', '.join(tasks)}")
        return task


class SpanRecipe(FinetuneRecipe):
    """A run on questions and passages."""

    data: SpanData


class LabelRecipe(FinetuneRecipe):
    """A run on texts with labels."""

    data: LabelData


class TagRecipe(FinetuneRecipe):
    """A run on words with tags."""

    data: TagData


class TextRecipe(FinetuneRecipe):
    """A run on texts to turn into other texts."""

    model: TextModelSection
    data: TextData
    train: TextTrainSection
    generation: GenerationSection = GenerationSection()


RECIPES: dict[Head, type[FinetuneRecipe]] = {
    "span": SpanRecipe,
    "label": LabelRecipe,
    "tags": TagRecipe,
    "text": TextRecipe,
}


def data_class(head: Head) -> type[DataSection]:
    """The data section of a head's recipes."""
    found = RECIPES[head].model_fields["data"].annotation
    assert isinstance(found, type)
    assert issubclass(found, DataSection)
    return found
