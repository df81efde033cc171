"""What a fine-tuning run is told, whatever its task. Each kind of task adds sections of its own in tasks/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from llmkit.recipes.pretraining import ModelSection, Section, Share, TrainSection
from llmkit.system.errors import did_you_mean


class TaskFacts(Protocol):
    """What a recipe needs to know of a task: see Task in tasks/base.py."""

    @property
    def recipe_class(self) -> type[FinetuneRecipe]:
        """The recipe of tasks of its kind."""
        ...

    @property
    def hub_id(self) -> str | None:
        """Its dataset on the Hub, to use where a recipe names no data."""
        ...

    @property
    def hub_name(self) -> str | None:
        """The configuration of that dataset."""
        ...

    @property
    def hub_revision(self) -> str | None:
        """The revision of that dataset, where its main one is not readable."""
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
        """The keys that say where examples come from; the others say how they are read."""
        return frozenset({"path", "name", "revision", "train", "validation", "test"})

    @classmethod
    def places(cls) -> frozenset[str]:
        """The keys that name files and datasets, which mean nothing on another machine."""
        return cls.origin()


class FinetuneRecipe(Section):
    """A run of `llmkit finetune`: the part that is the same for every task."""

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
