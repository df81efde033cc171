"""The fine-tuning recipe shared by all tasks. Each kind of task adds its own sections in tasks/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, Self

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from llmkit.recipes.pretraining import ModelOrigin, TrainSection
from llmkit.recipes.section import Fraction, Section
from llmkit.system.errors import did_you_mean


class TaskFacts(Protocol):
    """The parts of a task that a recipe uses. See Task in tasks/base.py."""

    @property
    def recipe_class(self) -> type[FinetuneRecipe]:
        """The recipe class for this kind of task."""
        ...

    @property
    def hub_id(self) -> str | None:
        """Its dataset on the Hub: the default for recipes that name no data."""
        ...

    @property
    def hub_name(self) -> str | None:
        """The configuration of that dataset."""
        ...

    @property
    def hub_revision(self) -> str | None:
        """The revision of that dataset, if the main one cannot be read."""
        ...


class FinetuneModelSection(ModelOrigin):
    """The model to fine-tune. A shape needs a tokenizer; a checkpoint includes one."""

    tokenizer: str | None = Field(None, description="Tokenizer to use with `config`: Hub id, folder or run.")
    lora: PositiveInt | None = Field(
        None,
        description="LoRA: train small matrices of this rank beside those of the layers, and the head; 16 suits most "
        "tasks. The saved model has them merged. Needs `llmkit[lora]`, and about ten times the learning rate. (llmkit "
        "only.)",
    )
    teacher: str | None = Field(
        None,
        description="Distillation: a model fine-tuned for the same task, from whose outputs this one learns too. Run, "
        "checkpoint folder or Hub id. (llmkit only.)",
    )
    teacher_weight: Fraction | None = Field(
        None,
        description="The teacher's share of the loss; the rest is of the gold answers. Default: 0.5. (llmkit only.)",
    )
    teacher_temperature: PositiveFloat | None = Field(
        None,
        description="What logits are divided by before the teacher's are learned: above 1, unlikely answers count "
        "more. Default: 2. (llmkit only.)",
    )

    teacher_hidden_states: bool | None = Field(
        None,
        description="Also learn, layer by layer, how the hidden states of tokens relate to one another in the teacher. "
        "Layers and width may differ. Default: false. (llmkit only.)",
    )

    @model_validator(mode="after")
    def _check_tokenizer(self) -> Self:
        if self.config is not None and not self._has_vocabulary():
            raise ValueError(f"config needs {self._vocabularies()}")
        if self.pretrained is not None and self.tokenizer is not None:
            raise ValueError("tokenizer has no effect with pretrained: a checkpoint includes its tokenizer")
        return self

    @model_validator(mode="after")
    def _check_lora(self) -> Self:
        if self.lora is not None and self.config is not None:
            raise ValueError("lora needs pretrained: adapters beside random weights learn nothing")
        return self

    @model_validator(mode="after")
    def _check_teacher(self) -> Self:
        for key in ("teacher_weight", "teacher_temperature", "teacher_hidden_states"):
            if self.teacher is None and getattr(self, key) is not None:
                raise ValueError(f"{key} has no effect without teacher")
        return self

    def _has_vocabulary(self) -> bool:
        return self.tokenizer is not None

    def _vocabularies(self) -> str:
        return "a tokenizer: model.tokenizer=HUB_ID_OR_FOLDER"


def _names_files(value: Any) -> Any:
    """One message for a value that is neither a path nor a list of paths."""
    if value is None or isinstance(value, str) or (isinstance(value, list) and value and _all_text(value)):
        return value
    raise ValueError(f"should be a file, a pattern, a folder, or a list of these, got {value!r}")


def _all_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


Files = Annotated[str | list[str] | None, BeforeValidator(_names_files)]


class DataSection(Section):
    """The dataset, and how it is read."""

    path: str | None = Field(
        None,
        description="Hub id, folder with the files of each split (`train*`, `validation*` or `dev*`, `test*`), folder "
        "that `save_to_disk` wrote, one file for all splits, or `demo`. Without a path or files, the task's dataset on "
        "the Hub is used.",
    )
    name: str | None = Field(None, description="Configuration of a Hub dataset.")
    revision: str | None = Field(None, description="Revision of a Hub dataset.")
    train: Files = Field(
        None,
        description="Training examples: a file, a pattern such as `train-*.parquet`, a folder, a URL of these "
        "(`https://`, `s3://`, `gs://`, `hf://`, …), or a list of them.",
    )
    validation: Files = Field(None, description="Validation examples, given in the same ways.")
    test: Files = Field(None, description="Test examples, given in the same ways.")
    unlabelled: Files = Field(
        None,
        description="Examples without gold answers, from which a model learns what its `model.teacher` says of them: "
        "files, given in the same ways. (llmkit only.)",
    )
    max_samples: PositiveInt | None = Field(
        None,
        description="Train and score on the first so many examples of each split alone; where a split has parts, as "
        "MNLI's matched and mismatched, of each part. (llmkit only.)",
    )
    max_length: Annotated[int, Field(ge=16)] = Field(128, description="Tokens per input. Longer inputs are truncated.")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        files = [self.train, self.validation, self.test]
        if self.path is None and not any(files):
            raise ValueError("give path (Hub id or folder), or files: train, validation, test")
        if self.path is not None and any(files):
            raise ValueError("path includes all splits; train, validation and test have no effect with it")
        return self

    @staticmethod
    def origin() -> frozenset[str]:
        """The keys that say which examples there are. The others say how to read them."""
        return frozenset({"path", "name", "revision", "train", "validation", "test", "unlabelled", "max_samples"})

    @classmethod
    def places(cls) -> frozenset[str]:
        """The keys that apply to these examples alone, on this machine: they name files and datasets."""
        return cls.origin()


class FinetuneRecipe(Section):
    """A run of `llmkit finetune`: the sections that every task has."""

    name: str = Field(description="Name of the run. Its folder is runs/NAME unless you give -o.")
    task: str = Field(description="Task name. See `llmkit tasks`.")
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

    @model_validator(mode="after")
    def _teaching(self) -> Self:
        if self.model.teacher is None and self.data.unlabelled is not None:
            raise ValueError("data.unlabelled has no effect without model.teacher")
        if self.model.teacher is not None and getattr(self.train, "class_weights", None) is not None:
            raise ValueError("train.class_weights does not go with model.teacher, whose outputs have no weights")
        return self
