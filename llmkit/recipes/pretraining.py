"""The pretraining recipe, and the sections that fine-tuning recipes share with it.

Keys of `train` have the names of transformers' `TrainingArguments`. Keys that only llmkit has end their description
with "(llmkit only.)". The descriptions become docs/recipes.md.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

from llmkit.recipes.corpus import CorpusSection
from llmkit.recipes.section import Fraction, Section
from llmkit.recipes.shapes import Shape
from llmkit.recipes.trackers import Trackers


class ModelOrigin(Section):
    """A checkpoint to start from, or the shape of a model with random weights."""

    pretrained: str | None = Field(None, description="Checkpoint to start from: Hub id, checkpoint folder or run.")
    config: Shape | None = Field(
        None,
        description="Shape of a model with random weights: a BERT, or with `model_type: modernbert` a ModernBERT.",
    )
    attention_probs_dropout_prob: Fraction | None = Field(
        None,
        description="Attention dropout for training a checkpoint, whatever the checkpoint says. Default: 0, which "
        "allows faster attention kernels. Hidden dropout stays as in the checkpoint.",
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.pretrained is None) == (self.config is None):
            raise ValueError("give either pretrained (a checkpoint) or config (a shape)")
        if self.config is not None and self.attention_probs_dropout_prob is not None:
            key = {"bert": "attention_probs_dropout_prob", "modernbert": "attention_dropout"}[self.config.model_type]
            raise ValueError(f"attention_probs_dropout_prob has no effect with config: set config.{key}")
        return self


class ModelSection(ModelOrigin):
    """The model to pretrain: a checkpoint to continue, or the shape of a model with random weights."""

    max_position_embeddings: PositiveInt | None = Field(
        None,
        description="Lengthens a ModernBERT that is continued: the longest input it reads from now on, in tokens. The "
        "base of its rotary positions follows, as `model.config.global_rope_theta` says.",
    )

    teacher: str | None = Field(
        None,
        description="Distillation after MiniLM v2: a larger encoder with the same vocabulary, whose relations between "
        "tokens this one learns beside the masked words. Layers, width and heads may differ. Hub id, checkpoint folder "
        "or run. (llmkit only.)",
    )
    teacher_layer: PositiveInt | None = Field(
        None,
        description="The teacher's layer whose queries, keys and values are learned, counted from 1. Default: the "
        "last. Of models with 24 layers one some layers below is better: MiniLM takes 21 of BERT-large and 19 of "
        "RoBERTa-large. (llmkit only.)",
    )
    teacher_weight: Fraction | None = Field(
        None,
        description="The teacher's share of the loss; the rest is that of masked words. Default: 0.5. (llmkit only.)",
    )

    @model_validator(mode="after")
    def _has_a_teacher(self) -> Self:
        for key in ("teacher_layer", "teacher_weight"):
            if self.teacher is None and getattr(self, key) is not None:
                raise ValueError(f"{key} has no effect without teacher")
        return self

    @model_validator(mode="after")
    def _lengthens_a_checkpoint(self) -> Self:
        if self.max_position_embeddings is not None and self.config is not None:
            raise ValueError("max_position_embeddings has no effect with config: set config.max_position_embeddings")
        return self


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def _seconds(value: Any) -> Any:
    """Convert `1h30m`, `20m` or `90s` to seconds. Numbers pass through."""
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("should be a time such as 90s, 30m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _steps(value: Any) -> Any:
    """Check a number of steps or a fraction of the run. 1.0 is refused: it could mean the whole run or one step."""
    if isinstance(value, float) and value > 1 and value.is_integer():
        return int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not (isinstance(value, float) and value < 1):
        raise ValueError("should be a whole number of steps, or a fraction of the run below 1")
    return value


_Steps = Annotated[int | float, BeforeValidator(_steps)]
Interval = Annotated[_Steps, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Duration = Annotated[_Steps, Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})]


class TrainSection(Section):
    """Training settings: a subset of `TrainingArguments` under the same names."""

    num_train_epochs: PositiveFloat | None = Field(None, description="Length of the run in epochs.")
    max_steps: PositiveInt | None = Field(None, description="Length of the run in optimizer steps.")
    time_budget: Annotated[PositiveFloat, BeforeValidator(_seconds)] | None = Field(
        None,
        description="Length of the run in wall-clock time (`90s`, `30m`, `1h30m`). The learning-rate schedule ends "
        "with it. (llmkit only.)",
    )
    per_device_train_batch_size: PositiveInt = 32
    per_device_eval_batch_size: PositiveInt | None = Field(
        None,
        description="Inputs per batch in evaluations. By default, as many tokens as suit the device: "
        "at most 1,024 inputs, or 32 for tasks that write texts.",
    )
    gradient_accumulation_steps: PositiveInt = 1
    optim: Literal["adamw", "muon"] = Field(
        "adamw",
        description="Optimizer. `muon` is for the matrices of the layers, AdamW for the rest, with one learning rate "
        "for both. (muon is llmkit only.)",
    )
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-5
    layerwise_lr_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Factor of the learning rate from one layer to the one below it: the head has all of it, the last "
        "layer the factor, the one before it the factor squared, and embeddings the least. (llmkit only.)",
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant", "warmup_stable_decay"] = Field(
        "linear",
        description="After the warmup. With `warmup_stable_decay` or `constant`, a run can become longer: give it a "
        "greater length, and --resume.",
    )
    warmup_steps: Duration = Field(0, description="Steps of linear warmup; below 1, a fraction of the run.")
    decay_steps: Interval | None = Field(
        None,
        description="Steps of the decay of `warmup_stable_decay`; below 1, a fraction of the run. 0.2 if not given. "
        "(llmkit only.)",
    )
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    adam_beta1: Fraction = 0.9
    adam_beta2: Fraction = 0.999
    adam_epsilon: PositiveFloat = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    bf16: Literal[True, False, "auto"] = Field(
        "auto",
        description="bfloat16 autocast; `auto` uses it if the hardware supports it. (auto is llmkit only.)",
    )
    torch_compile: bool = Field(
        False, description="Compile the model: takes minutes at the start, then steps are faster. For long runs."
    )
    logging_steps: Interval = Field(
        0.01, description="Steps between lines in log.jsonl; below 1, a fraction of the run."
    )
    eval_steps: Interval = Field(
        0.5,
        description="Steps between evaluations, each followed by a checkpoint; below 1, a fraction of the run. "
        "The last step is always evaluated.",
    )
    early_stopping_patience: PositiveInt | None = Field(
        None,
        description="Stop after so many evaluations in a row without a better score than the best. The learning rate "
        "follows the planned length all the same.",
    )
    save_steps: Interval | None = Field(
        None,
        description="Steps between additional checkpoints without an evaluation; below 1, a fraction of the run.",
    )
    save_total_limit: Annotated[int, Field(ge=1)] = Field(
        2,
        description="Checkpoints to keep, including the best one. A run that can become longer also keeps the last one "
        "before its decay, and the best until then: two more.",
    )
    dataloader_num_workers: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Processes that make batches while the device computes. Default: 2 for a GPU, none on a CPU. They "
        "change no batch.",
    )
    activation_checkpointing: bool = Field(
        False,
        description="Compute the activations of each layer again in the backward pass instead of keeping them: less "
        "memory, a third more work, the same gradients.",
    )
    deterministic: bool = Field(
        False,
        description="On a GPU, use only kernels that repeat a result bit for bit, which are slower: two runs of a "
        "recipe are then equal, and so is a resumed one. On a CPU they always are. (llmkit only.)",
    )

    report_to: Trackers = Field(
        (),
        description="Where the run also reports, beside log.jsonl: any of `tensorboard`, `wandb`, `mlflow` and "
        "`trackio`, as a list. Nothing leaves this machine without it.",
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        lengths = [self.num_train_epochs, self.max_steps, self.time_budget]
        if sum(length is not None for length in lengths) != 1:
            raise ValueError("give exactly one of num_train_epochs, max_steps and time_budget")
        if self.time_budget is not None and self.warmup_steps >= 1:
            raise ValueError("with time_budget, warmup_steps must be a fraction of the run, below 1")
        return self

    @model_validator(mode="after")
    def _decay(self) -> Self:
        if self.decay_steps is not None and self.lr_scheduler_type != "warmup_stable_decay":
            raise ValueError("decay_steps has no effect without lr_scheduler_type=warmup_stable_decay")
        if self.time_budget is not None and self.decay >= 1:
            raise ValueError("with time_budget, decay_steps must be a fraction of the run, below 1")
        fractions = self.warmup_steps < 1 and self.decay < 1
        length = self.max_steps or (1 if fractions else None)
        if self.decay and length is not None and self.phases(length) > length:
            raise ValueError("warmup_steps and decay_steps are more than the run")
        return self

    @model_validator(mode="after")
    def _patience(self) -> Self:
        length = 1 if self.eval_steps < 1 else self.max_steps
        if self.early_stopping_patience is None or length is None:
            return self
        evaluations = math.ceil(round(length / self.eval_steps, 6))
        if self.early_stopping_patience + 1 >= evaluations:
            raise ValueError(
                f"early_stopping_patience {self.early_stopping_patience} has no effect on a run of {evaluations} "
                "evaluations: make it smaller, or eval_steps"
            )
        return self

    def phases(self, steps: int) -> float:
        """The steps of the warm-up and of the decay, in a run of so many steps."""
        phases = sum(part if part >= 1 else part * steps for part in (self.warmup_steps, self.decay))
        return round(phases, 6)  # fractions that make up the whole run may come to more by a last bit

    @property
    def decay(self) -> float:
        """The decay of `warmup_stable_decay`: steps, or below 1 a fraction of the run. 0 for other schedules."""
        return (self.decay_steps or 0.2) if self.lr_scheduler_type == "warmup_stable_decay" else 0.0


class PretrainRecipe(Section):
    """A run of `llmkit pretrain`."""

    name: str = Field(description="Name of the run. Its folder is runs/NAME unless you give -o.")
    corpus: CorpusSection
    model: ModelSection
    train: TrainSection

    @model_validator(mode="after")
    def _positions(self) -> Self:
        shape = self.model.config
        key, positions = "model.max_position_embeddings", self.model.max_position_embeddings
        if shape is not None:
            key, positions = "model.config.max_position_embeddings", shape.max_position_embeddings
        if positions is not None and self.corpus.block_size > positions:
            raise ValueError(f"corpus.block_size {self.corpus.block_size} exceeds {key} {positions}")
        return self

    @model_validator(mode="after")
    def _teaching(self) -> Self:
        for key in ("torch_compile", "activation_checkpointing"):
            if self.model.teacher is not None and getattr(self.train, key):
                raise ValueError(f"train.{key} does not go with model.teacher, which reads what layers attend with")
        return self
