"""What a part of an audit is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmkit.recipes.finetuning import DataSection
from llmkit.system.run_folder import RunDir
from llmkit.tasks.base import Task
from llmkit.tasks.predictions import of_examples, read_predictions
from llmkit.tasks.settings import Settings
from llmkit.tasks.values import Prediction

if TYPE_CHECKING:
    from datasets import Dataset

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Wanted:
    """What the user chose for the parts of an audit.

    corpus       folder of token shards that the model was pretrained on; None for those of the run that it started from
    examples     how many examples to change, at most, for robustness and fairness
    crows_pairs  file of CrowS-Pairs; None for the one on the Hub
    stereoset    file of StereoSet; None for the one on the Hub
    """

    corpus: Path | None = None
    examples: int = 500
    crows_pairs: Path | None = None
    stereoset: Path | None = None


@dataclass(frozen=True)
class Audited:
    """A fine-tuned model under audit, and the examples that it is audited on.

    settings   the model's checkpoint, task, data and null threshold, with the user's choices
    split      the split of the data that `examples` are
    run        its run; None for a checkpoint without one
    stored     whether the run's own predictions.jsonl is of these examples
    predict    runs the model: one prediction per example, in their order. The model is loaded at the first call.
    """

    settings: Settings
    split: str
    examples: Dataset
    run: RunDir | None
    stored: bool
    predict: Callable[[Dataset], list[Prediction]]

    @property
    def task(self) -> Task[Any]:
        """The task that it is audited for."""
        return self.settings.task

    @property
    def data(self) -> DataSection:
        """The data section that says how rows are read."""
        return self.settings.data

    @cached_property
    def predictions(self) -> list[Prediction]:
        """The predictions for `examples`: those of the run, or else the model is run."""
        if not self.stored:
            return self.predict(self.examples)
        assert self.run is not None
        file = self.run.path / PREDICTIONS
        where = f"the {self.split} split of {self.run.path}"
        found = read_predictions(file)
        return of_examples(found, self.examples["id"][:], file=file, data=where, items=f"{self.task.item}s")


@dataclass(frozen=True)
class AuditTable:
    """A table of a result. A column name that begins with `>` is aligned right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"title": self.title, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}


class Result(Protocol):
    """What a part found."""

    def as_row(self) -> Mapping[str, Any]:
        """Everything, as plain values for JSON."""

    def tables(self) -> Sequence[AuditTable]:
        """What to print, and to show on the model card: no texts of examples."""

    def notes(self) -> Sequence[str]:
        """Sentences that one must know to read the tables; also on the model card."""

    def shown(self) -> Iterator[str]:
        """Lines with examples to read, printed below the tables."""
