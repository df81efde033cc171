"""The Task interface: rows → examples → features → model outputs → predictions → scores.

Each kind of task is a subclass of Task in its own folder; each dataset is an instance of a kind. A new kind implements
`head`, `example`, `encode`, `decode` and `score`, and overrides defaults that do not fit. Code outside tasks/ never
checks the kind of a task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe
from llmkit.system.errors import UserError
from llmkit.tasks import encoder_models
from llmkit.tasks.rows.origin import rows_of
from llmkit.tasks.score_tables import Table, rows_with_intervals
from llmkit.tasks.values import Array, Codec, LocatedRow, Outputs, Prediction, Published

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features
    from transformers import PreTrainedModel

    from llmkit.models.checkpoint import Checkpoint
    from llmkit.models.onnx import Graphs
    from llmkit.tasks.editor import Editor
    from llmkit.tasks.explained import Explained, Typed, Wanted
    from llmkit.tasks.head import Head, Loss
    from llmkit.tasks.measures import Measured
    from llmkit.tasks.review import Review
    from llmkit.tasks.served import Served

D = TypeVar("D", bound=DataSection)


@dataclass(frozen=True)
class Task(ABC, Generic[D]):
    """A dataset, and how to read, encode, decode and score it.

    name          name on the command line: `squad`
    title         one-line description
    recipe        default recipe
    hub_…         the dataset on the Hub: id, configuration, revision; the id is None if users bring their own data
    metric        the score that selects the best checkpoint; higher is better
    headline      the scores shown during training, including `metric`
    item          what to call an example in messages: `question`, `sentence`
    pipeline_tag  the Hub's pipeline tag for its models
    """

    name: str
    title: str
    recipe: str
    hub_id: str | None = None
    hub_name: str | None = None
    hub_revision: str | None = None
    metric: str = ""
    headline: tuple[str, ...] = ()
    item: str = "example"
    pipeline_tag: str | None = None

    # The recipe schema of this kind.
    recipe_class: ClassVar[type[FinetuneRecipe]] = FinetuneRecipe
    # Whether `llmkit ask` supports it: examples have a question and a context; candidates are spans of the context.
    answers_questions: ClassVar[bool] = False
    # Whether it predicts labels; a model stores them in config.id2label.
    labelled: ClassVar[bool] = False
    # Why `llmkit explain` does not support it; None if it does: it then has `typed_example` and `explained`.
    unexplained: ClassVar[str | None] = "its kind does not say which number of the model a prediction is"
    # Why its models are not exported to ONNX; None if they are.
    unexported: ClassVar[str | None] = None
    # transformers' name for what its model's labels are; a model stores it in config.problem_type.
    problem_type: ClassVar[str | None] = None
    # Whether the loss compares the examples of a micro-batch, which must then be a random sample, and whole.
    contrasts: ClassVar[bool] = False
    # What its scores are in, for the model card.
    score_unit: ClassVar[str] = "in percent"

    # --- every kind implements these ---

    @property
    @abstractmethod
    def head(self) -> Head:
        """The model's head. Import it inside the property: it pulls in torch and transformers."""

    @abstractmethod
    def example(self, row: Mapping[str, Any], data: D, *, labelled: bool) -> dict[str, Any]:
        """Convert a row to the task's canonical columns, without the id. Raises BadRow if the row is invalid.

        If `labelled` is false, the gold answer may be missing.
        """

    @abstractmethod
    def encode(self, examples: Dataset, codec: Codec, data: D, *, training: bool) -> Dataset:
        """Tokenize examples into features, one or more per example.

        Each feature has `input_ids`, `length` (tokens) and `example` (the example's row number). For training, it also
        has the columns that `head.targets` reads. Here and in `decode`, `examples` may also be Columns in memory, and
        features then are too. Raises UserError.
        """

    @abstractmethod
    def decode(
        self,
        outputs: Sequence[Outputs],
        features: Dataset,
        examples: Dataset,
        codec: Codec,
        data: D,
        *,
        threshold: Any = None,
    ) -> list[Prediction]:
        """Turn model outputs into predictions: one per example, in the order of `examples`.

        `outputs` are in the order of `features`. `threshold` is what scores tune, if anything: a task that can abstain
        does so if the null score exceeds it; for several labels it is a threshold by label.
        """

    @abstractmethod
    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: D) -> dict[str, Any]:
        """The official scores in percent, each with its `{name}_interval`, and `total`, the number of examples.

        An example without a prediction scores 0. Here and in `check_scores`, `examples` may also be Columns in memory.
        """

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: D) -> dict[str, Measured]:
        """Scores by name as measures of examples, to compare predictions with others of the same examples. At least
        `metric` is among them. Raises UserError if a kind has none."""
        raise UserError(f"predictions of {self.name} cannot be compared", remedy="its kind has no `measures`")

    def correct(self, predictions: Sequence[Prediction], examples: Dataset, data: D) -> Array | None:
        """Whether each example is answered exactly right, [examples]; None if answers cannot be right or wrong."""
        return None

    def contents(self, examples: Dataset) -> dict[str, list[str]]:
        """The texts of each example by name, [examples] each: what a model that has seen it has seen. One that it lacks
        is empty. Raises UserError if a kind has none."""
        raise UserError(f"contamination of {self.name} cannot be found", remedy="its kind has no `contents`")

    # --- explanations ---

    def typed_example(self, typed: Typed, data: D) -> dict[str, Any]:
        """The example that the user typed, in canonical columns without the id. Raises UserError if it is of another
        kind."""
        raise NotImplementedError  # a kind without it says so in `unexplained`, and is not asked

    def explained(
        self,
        example: Mapping[str, Any],
        inputs: Sequence[tuple[Mapping[str, Any], Outputs]],
        prediction: Prediction,
        codec: Codec,
        data: D,
        wanted: Wanted,
    ) -> Explained:
        """The number that explains a prediction, or what the user `wanted` instead. `inputs` are the features of the
        example, each with the model's outputs. Raises UserError."""
        raise NotImplementedError  # as above

    def served(self, data: D) -> Served:
        """What a server reads and answers. Raises UserError if a kind does not say."""
        raise UserError(f"a model of {self.name} cannot be served", remedy="its kind has no `served`; use predict")

    # --- reports and audits ---

    def review(self, predictions: Sequence[Prediction], examples: Dataset, data: D) -> Review:
        """What a report says of predictions: slices, confidence, errors, gold labels that may be wrong."""
        from llmkit.tasks.review import Review

        return Review(self, predictions, examples, data)

    @property
    def editor(self) -> Editor:
        """What edits its examples in audits."""
        from llmkit.tasks.editor import Editor

        return Editor()

    # --- rows ---

    def rows(self, data: D, split: str, part: str) -> Iterator[LocatedRow]:
        """The rows of `part`, one of the dataset's own splits that make up `split`. Raises UserError."""
        return rows_of(data, split, part, self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row, for error messages about files without rows."""
        return ()

    def splits(self, split: str) -> tuple[str, ...]:
        """The dataset's own splits that make up `split`: MNLI's validation is two."""
        return (split,)

    def expand(self, place: str, row: Any) -> Iterator[LocatedRow]:
        """Yield the rows nested inside a row, each with its place in the file. Raises BadRow."""
        yield place, row

    def first(self, rows: Iterator[LocatedRow], limit: int | None) -> Iterator[LocatedRow]:
        """The rows of the first `limit` examples of a split; all if it is None."""
        return islice(rows, limit)

    def schema(self) -> Features | None:
        """The types of the canonical columns, including `id`; None to let `datasets` infer them."""
        return None

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """The labels, in index order, of the training `examples`; the fixed labels if None. () if there are none."""
        return ()

    # --- recipe and model ---

    @property
    def data_class(self) -> type[DataSection]:
        """The class of the recipe's data section."""
        found = self.recipe_class.model_fields["data"].annotation
        assert isinstance(found, type)
        assert issubclass(found, DataSection)
        return found

    def is_compatible(self, other: Task[Any]) -> bool:
        """Whether both tasks can share a recipe, and their predictions have the same form."""
        return self.recipe_class is other.recipe_class

    def codec_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, train: Dataset) -> Codec:
        """The tokenizers and labels for training, from the checkpoint or else from the recipe's tokenizer."""
        return encoder_models.codec_to_train(self, recipe, checkpoint, train)

    def model_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, codec: Codec) -> PreTrainedModel:
        """The checkpoint with this task's head, or a model with random weights. Raises UserError."""
        return encoder_models.model_to_train(self, recipe, checkpoint, codec)[0]

    def load_trained(self, checkpoint: Checkpoint, data: D) -> tuple[PreTrainedModel, Codec]:
        """Load a checkpoint fine-tuned for this kind of task. Raises UserError if it lacks the head."""
        return encoder_models.load_trained(self, checkpoint)

    def finalize(self, model: PreTrainedModel) -> None:
        """Change the best model in place before it is saved. Its predictions must stay the same."""

    def loss(self, recipe: FinetuneRecipe, codec: Codec, train: Dataset) -> Loss:
        """The training loss, which may depend on the training examples. Raises UserError."""
        return self.head.loss

    def apart(self, train: Dataset) -> Array | None:
        """Keys [examples, k], if examples that share one must not be in the same batch; -1 is no key."""
        return None

    def write_files(self, folder: Path, data: D) -> None:
        """Write what else belongs into the folder of a trained model, for other libraries."""

    def check_labels(self, name: str, codec: Codec, examples: Dataset) -> None:
        """Warn about labels that the model `name` does not know. Raises UserError if it knows none of them."""

    def check_scores(self, examples: Dataset, data: D) -> None:
        """Warn if the scores of `examples` would mislead. Raises UserError if a package for them is missing."""

    # --- messages and tables ---

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """Yield (is_warning, message) about the training data, to print before a run."""
        return iter(())

    def describe_inputs(self, features: Dataset) -> str:
        """How many inputs the model gets: `1,024 windows`."""
        return "inputs"

    def next_step(self, run: str) -> str:
        """The next step after a finished run: a few words and a command."""
        return f"use it: llmkit predict {run} FILE -o OUTPUT"

    def score_rows(self, scores: Mapping[str, Any]) -> list[list[str]]:
        """Rows of the score table: name, percent, interval."""
        return rows_with_intervals(self.headline, scores)

    def more_tables(self, scores: Mapping[str, Any]) -> Iterator[Table]:
        """Tables to print below the score table."""
        return iter(())

    # --- export and model card ---

    def graphs(self) -> Graphs:
        """How to export its models to ONNX."""
        from llmkit.models.onnx import ENCODER

        return ENCODER

    def usage_example(self, model: Published) -> str:
        """Python for the model card that runs the model with transformers alone. It must run as is."""
        return f'''from transformers import {self.head.auto.__name__}, AutoTokenizer

name = "{model.name}"  # or a folder with its files
tokenizer = AutoTokenizer.from_pretrained(name)
model = {self.head.auto.__name__}.from_pretrained(name).eval()
print(model(**tokenizer("A text.", return_tensors="pt")))'''

    def usage_command(self, name: str, output: str) -> str:
        """The llmkit command for the model card that runs the model."""
        return f"llmkit predict {name} FILE -o {output}"
