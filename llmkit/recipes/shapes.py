"""The shapes of models with random weights: `model.config` of a recipe, told apart by its `model_type`.

Keys have the names of transformers' configuration classes. Only those that a user may want to change are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from llmkit.recipes.section import Fraction, Section

# ModernBERT was pretrained with blocks of 1,024 tokens and this base, and then continued with 8,192 and the other.
SHORT_CONTEXT = 1024
SHORT_ROPE_THETA = 10_000.0
LONG_ROPE_THETA = 160_000.0

Activation = Literal["gelu", "relu", "silu", "gelu_new"]


def rope_theta_for(positions: int) -> float:
    """The base of the rotary positions of ModernBERT's global layers for inputs of at most `positions` tokens."""
    return SHORT_ROPE_THETA if positions <= SHORT_CONTEXT else LONG_ROPE_THETA


class _Shape(Section):
    """What both shapes have: attention heads that share the width."""

    model_type: str
    hidden_size: PositiveInt = 768
    num_attention_heads: PositiveInt = 12

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_attention_heads {self.num_attention_heads}"
            )
        return self


class BertShape(_Shape):
    """Fields of `BertConfig`. The vocabulary size and the padding token come from the tokenizer."""

    model_type: Literal["bert"] = "bert"
    num_hidden_layers: PositiveInt = 12
    intermediate_size: PositiveInt = 3072
    hidden_act: Activation = "gelu"
    hidden_dropout_prob: Fraction = 0.1
    attention_probs_dropout_prob: Fraction = 0.1
    max_position_embeddings: PositiveInt = 512
    type_vocab_size: PositiveInt = 2
    initializer_range: PositiveFloat = 0.02
    layer_norm_eps: PositiveFloat = 1e-12

    def config_fields(self) -> dict[str, Any]:
        """The arguments of `BertConfig`."""
        return self.model_dump(exclude={"model_type"})


class ModernBertShape(_Shape):
    """Fields of `ModernBertConfig`, with the defaults of ModernBERT-base.

    The vocabulary size and the special tokens come from the tokenizer.
    """

    model_type: Literal["modernbert"]
    num_hidden_layers: PositiveInt = 22
    intermediate_size: PositiveInt = Field(1152, description="Width of the gated layer, after the gate.")
    hidden_activation: Activation = "gelu"
    max_position_embeddings: PositiveInt = Field(8192, description="Longest input. There is no table of positions.")
    global_attn_every_n_layers: PositiveInt = Field(
        3,
        description="One layer in this many, starting with the first, attends to the whole input; 1 makes all do so.",
    )
    local_attention: Annotated[int, Field(ge=2, multiple_of=2)] = Field(
        128, description="Window of the other layers in tokens: each attends to half of it on either side."
    )
    global_rope_theta: PositiveFloat | None = Field(
        None,
        description="Base of the rotary positions where attention is global. Default: as ModernBERT was trained, "
        "10,000 up to 1,024 positions and 160,000 beyond.",
    )
    local_rope_theta: PositiveFloat = Field(10_000.0, description="The same where attention is local.")
    attention_dropout: Fraction = 0.0
    embedding_dropout: Fraction = 0.0
    mlp_dropout: Fraction = 0.0
    classifier_dropout: Fraction = 0.0
    classifier_pooling: Literal["cls", "mean"] = Field(
        "cls", description="What a classifier of texts reads: the first token, or the mean of all."
    )
    initializer_range: PositiveFloat = 0.02
    initializer_cutoff_factor: PositiveFloat = Field(
        2.0, description="Initial weights are drawn anew beyond this many standard deviations."
    )
    norm_eps: PositiveFloat = 1e-5

    @model_validator(mode="after")
    def _rotates(self) -> Self:
        size = self.hidden_size // self.num_attention_heads
        if self.hidden_size % self.num_attention_heads == 0 and size % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} with num_attention_heads {self.num_attention_heads} makes heads of "
                f"{size}: rotary positions turn pairs of numbers, so it should be even"
            )
        return self

    def config_fields(self) -> dict[str, Any]:
        """The arguments of `ModernBertConfig`."""
        fields = self.model_dump(exclude={"model_type"})
        fields["global_rope_theta"] = self.global_rope_theta or rope_theta_for(self.max_position_embeddings)
        return fields


SHAPES: dict[str, type[Section]] = {"bert": BertShape, "modernbert": ModernBertShape}  # by model_type


def _of_a_type(value: Any) -> Any:
    """A shape without `model_type` is a BERT: it was the only one there was."""
    return {"model_type": "bert", **value} if isinstance(value, Mapping) else value


Shape = Annotated[
    Annotated[BertShape | ModernBertShape, Field(discriminator="model_type")], BeforeValidator(_of_a_type)
]
