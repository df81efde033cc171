"""What a run of tokenizing or pretraining is told: typed, closed, frozen. `finetune_recipe.py` has the rest, and
`recipe_reading.py` makes these from YAML and overrides.

Keys of `train` are names of transformers' `TrainingArguments`, keys of `model.config` are fields of
`BertConfig`; the few of our own say so in their description. The descriptions become docs/recipes.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A closed, frozen, strictly typed part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


def _source(value: Any) -> Any:
    """`PATH[,key=value…]`, the form `-c` takes, as the mapping that a recipe may also hold."""
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
    """Where documents come from."""

    path: str = Field(
        description="`wikipedia`, `bookcorpus`, `demo`; a `.txt`, `.jsonl` or `.parquet` file, a folder or a "
        "glob of them; or the id of a data set on the Hub."
    )
    name: str | None = Field(None, description="Configuration of a Hub data set, such as `20231101.en`.")
    split: str = Field("train", description="Split of a Hub data set.")
    revision: str | None = Field(None, description="Revision of a Hub data set.")
    text_column: str = Field("text", description="Column or field that holds the text.")
    documents: Literal["file", "blank_line"] = Field(
        "file",
        description="What a document of a `.txt` file is: the whole `file`, or a part between blank lines.",
    )
    weight: PositiveFloat = Field(
        1.0, description="How often a document of this source is read in one epoch: 2 twice, 0.5 every other."
    )


class TokenizerSection(Section):
    """The tokenizer: one to load, or the size of a WordPiece vocabulary to train on the corpus."""

    path: str | None = Field(None, description="Hub id or folder of a tokenizer to load.")
    vocab_size: Annotated[int, Field(ge=100, le=2**31 - 1)] | None = Field(
        None,
        description="Train a WordPiece tokenizer of this size on the corpus. 30522 where no path is given.",
    )
    lowercase: bool = Field(True, description="Lower-case and strip accents, as bert-base-uncased does.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.path is not None and self.model_fields_set & {"vocab_size", "lowercase"} - {"path"}:
            raise ValueError("path loads a tokenizer as it is; vocab_size and lowercase have no effect beside it")
        return self

    @property
    def size_to_train(self) -> int:
        """Vocabulary size for a tokenizer that is trained."""
        return self.vocab_size or 30522


class CorpusSection(Section):
    """Text for pretraining: token shards made by `llmkit tokenize`, or sources to tokenize first."""

    path: str | None = Field(None, description="Folder of token shards, made by `llmkit tokenize -o`.")
    sources: list[Annotated[Source, BeforeValidator(_source)]] | None = Field(
        None,
        description="Sources to tokenize first, each as in `llmkit tokenize -c` or with keys of its own.",
    )
    tokenizer: TokenizerSection = Field(TokenizerSection(), description="Tokenizer for `sources`.")
    block_size: Annotated[int, Field(ge=8)] = Field(128, description="Tokens in a training block.")
    mlm_probability: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, description="Share of tokens to predict.")
    whole_word_mask: bool = Field(False, description="Mask all pieces of a word together. (Ours.)")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.path is None) == (self.sources is None):
            raise ValueError("give either path (token shards) or sources (text to tokenize)")
        if self.path is not None and "tokenizer" in self.model_fields_set:
            raise ValueError("tokenizer has no effect beside path: token shards hold their tokenizer")
        if self.sources is not None and not self.sources:
            raise ValueError("sources is empty")
        return self


class BertShape(Section):
    """Fields of `BertConfig`; the vocabulary's size and the padding token follow from the tokenizer."""

    hidden_size: PositiveInt = 768
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    intermediate_size: PositiveInt = 3072
    hidden_act: Literal["gelu", "relu", "silu", "gelu_new"] = "gelu"
    hidden_dropout_prob: Share = 0.1
    attention_probs_dropout_prob: Share = 0.1
    max_position_embeddings: PositiveInt = 512
    type_vocab_size: PositiveInt = 2
    initializer_range: PositiveFloat = 0.02
    layer_norm_eps: PositiveFloat = 1e-12

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_attention_heads {self.num_attention_heads}"
            )
        return self


class ModelSection(Section):
    """The model: a checkpoint to go on from, or a shape to start from random weights."""

    pretrained: str | None = Field(None, description="Hub id, checkpoint folder, or run of llmkit.")
    config: BertShape | None = Field(None, description="Shape of a BERT that starts from random weights.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.pretrained is None) == (self.config is None):
            raise ValueError("give either pretrained (a checkpoint) or config (a shape)")
        return self


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def _seconds(value: Any) -> Any:
    """`1h30m`, `20m`, `90s` or a number of seconds, as seconds."""
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("should be a time such as 90s, 30m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _steps(value: Any) -> Any:
    """Steps, or a share of the run. 1.0 could be meant as either: as the whole run, or as a single step."""
    if isinstance(value, float) and value > 1 and value.is_integer():
        return int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not (isinstance(value, float) and value < 1):
        raise ValueError("should be a whole number of steps, or a share of the run below 1")
    return value


_Steps = Annotated[int | float, BeforeValidator(_steps)]
Every = Annotated[_Steps, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
During = Annotated[_Steps, Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})]


class TrainSection(Section):
    """How to train: a frozen subset of `TrainingArguments`, under its own names."""

    num_train_epochs: PositiveFloat | None = Field(None, description="Length of the run in epochs.")
    max_steps: PositiveInt | None = Field(None, description="Length of the run in optimizer steps.")
    time_budget: Annotated[PositiveFloat, BeforeValidator(_seconds)] | None = Field(
        None,
        description="Length of the run in wall-clock time (`90s`, `30m`, `1h30m`): the learning rate's "
        "schedule ends when the time does. (Ours.)",
    )
    per_device_train_batch_size: PositiveInt = 32
    per_device_eval_batch_size: PositiveInt = 32
    gradient_accumulation_steps: PositiveInt = 1
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-5
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: During = Field(0, description="Steps of linear warm-up; below 1, a share of the run.")
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    adam_beta1: Share = 0.9
    adam_beta2: Share = 0.999
    adam_epsilon: PositiveFloat = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    bf16: Literal[True, False, "auto"] = Field(
        "auto",
        description="bfloat16 autocast; `auto` takes it where the hardware computes in it. (auto is ours.)",
    )
    torch_compile: bool = Field(
        False, description="Compile the model: minutes at the start, faster steps then. Worth it for long runs."
    )
    logging_steps: Every = Field(0.01, description="Steps between lines of log.jsonl; below 1, a share of the run.")
    eval_steps: Every = Field(
        0.5,
        description="Steps between evaluations, each followed by a checkpoint; below 1, a share of the run. "
        "The run's end is always evaluated.",
    )
    save_steps: Every | None = Field(
        None, description="Steps between further checkpoints, without an evaluation; below 1, a share of the run."
    )
    save_total_limit: Annotated[int, Field(ge=1)] = Field(
        2, description="Checkpoints to keep, the best one among them."
    )
    dataloader_num_workers: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        lengths = [self.num_train_epochs, self.max_steps, self.time_budget]
        if sum(length is not None for length in lengths) != 1:
            raise ValueError("give exactly one of num_train_epochs, max_steps and time_budget")
        if self.time_budget is not None and self.warmup_steps >= 1:
            raise ValueError("beside time_budget, warmup_steps is a share of the run: below 1")
        return self


class PretrainRecipe(Section):
    """A run of `llmkit pretrain`."""

    name: str = Field(description="Name of the run: its folder is runs/NAME unless -o says otherwise.")
    corpus: CorpusSection
    model: ModelSection
    train: TrainSection

    @model_validator(mode="after")
    def _positions(self) -> Self:
        shape = self.model.config
        if shape is not None and self.corpus.block_size > shape.max_position_embeddings:
            raise ValueError(
                f"corpus.block_size {self.corpus.block_size} exceeds "
                f"model.config.max_position_embeddings {shape.max_position_embeddings}"
            )
        return self


class TokenizeRecipe(Section):
    """What `llmkit tokenize` is told: sources by `-c`, the rest by overrides."""

    sources: list[Annotated[Source, BeforeValidator(_source)]]
    tokenizer: TokenizerSection = TokenizerSection()
