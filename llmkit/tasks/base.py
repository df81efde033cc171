"""What a task is: rows → examples → features → model outputs → predictions → scores.

A kind of task is a subclass of Task in a folder of its own; a dataset is an instance of a kind. A new kind writes
`head`, `example`, `encode`, `decode` and `score`, and overrides what else is different about it. Nobody outside of
tasks/ asks what kind a task is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from llmkit.recipes.finetuning import DataSection, FinetuneRecipe
from llmkit.tasks.values import Codec, Outputs, Placed, Prediction, Published

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features
    from transformers import PreTrainedModel

    from llmkit.models.checkpoint import Checkpoint
    from llmkit.models.onnx import Graphs
    from llmkit.tasks.head import Head, Loss
    from llmkit.tasks.score_tables import Table

D = TypeVar("D", bound=DataSection)


@dataclass(frozen=True)
class Task(ABC, Generic[D]):
    """A dataset, and all that the program knows of tasks of its kind.

    name          on the command line: `squad`
    title         one line that says what it is
    recipe        the recipe to use where none is named
    hub_…         its dataset on the Hub: id, configuration, revision; no id where there is no usual one
    metric        the score that picks the best checkpoint; higher is better
    headline      the scores to show during training, `metric` among them
    item          what an example is called: `question`, `sentence`
    pipeline_tag  what the Hub calls what such a model does
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

    # What the recipe of such a task may say.
    recipe_class: ClassVar[type[FinetuneRecipe]] = FinetuneRecipe
    # Whether `llmkit ask` can use it: examples have a question and a context, candidates are spans of the context.
    answers_questions: ClassVar[bool] = False
    # Whether it predicts labels, which a model keeps in config.id2label.
    labelled: ClassVar[bool] = False

    # --- what a kind has to write ---

    @property
    @abstractmethod
    def head(self) -> Head:
        """The model's head. Imports torch and transformers, so build it where it is asked for."""

    @abstractmethod
    def example(self, row: Mapping[str, Any], data: D, *, labelled: bool) -> dict[str, Any]:
        """A row in the task's canonical columns, without its id. Raises BadRow for a bad one.

        Without `labelled`, what is to be predicted may be missing.
        """

    @abstractmethod
    def encode(self, examples: Dataset, codec: Codec, data: D, *, training: bool) -> Dataset:
        """Features, one or more an example, each with input_ids, length and example (its row number).

        In training they also have the columns that `head.targets` reads. Raises UserError.
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
        threshold: float | None = None,
    ) -> list[Prediction]:
        """One prediction an example, in their order; `outputs` are in the order of `features`.

        A task that may abstain does so where the null score is above `threshold`.
        """

    @abstractmethod
    def score(self, predictions: Sequence[Prediction], examples: Dataset, data: D) -> dict[str, Any]:
        """The official scores in percent, `{name}_interval` beside them, and `total`, the number of examples.

        An example without a prediction scores 0.
        """

    # --- rows ---

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row, for the message about a file that has none."""
        return ()

    def splits(self, split: str) -> tuple[str, ...]:
        """The splits of the dataset that make up `split`."""
        return (split,)

    def expand(self, place: str, row: Any) -> Iterator[Placed]:
        """The rows inside a row, where files nest them. Raises BadRow."""
        yield place, row

    def schema(self) -> Features | None:
        """The types of the canonical columns, `id` among them; None where datasets may infer them."""
        return None

    def labels(self, examples: Dataset | None) -> tuple[str, ...]:
        """The labels by number: as training examples show them, or without these the fixed ones; () for no labels."""
        return ()

    # --- recipe and model ---

    @property
    def data_class(self) -> type[DataSection]:
        """The data section of its recipes."""
        found = self.recipe_class.model_fields["data"].annotation
        assert isinstance(found, type)
        assert issubclass(found, DataSection)
        return found

    def is_like(self, other: Task[Any]) -> bool:
        """Whether one recipe can serve both, and one model's predictions have the form of the other's."""
        return self.recipe_class is other.recipe_class

    def codec_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, train: Dataset) -> Codec:
        """Tokenizers and labels for training: of the checkpoint, or of the tokenizer that the recipe names."""
        from llmkit.tasks.encoder_models import codec_to_train

        return codec_to_train(self, recipe, checkpoint, train)

    def model_to_train(self, recipe: FinetuneRecipe, checkpoint: Checkpoint | None, codec: Codec) -> PreTrainedModel:
        """The checkpoint with the task's head, or a model with random weights. Raises UserError."""
        from llmkit.tasks.encoder_models import model_to_train

        return model_to_train(self, recipe, checkpoint, codec)

    def trained(self, checkpoint: Checkpoint, data: D) -> tuple[PreTrainedModel, Codec]:
        """A checkpoint that was trained for such a task. Raises UserError where it lacks the head."""
        from llmkit.tasks.encoder_models import trained

        return trained(self, checkpoint)

    def loss(self, recipe: FinetuneRecipe) -> Loss | None:
        """The loss to train with; None for the model's own."""
        return self.head.loss

    def check_known(self, name: str, codec: Codec, examples: Dataset) -> None:
        """Warn of labels in the data that the model `name` does not know; UserError where it knows none of them."""

    # --- what is said ---

    def describe_data(self, examples: DatasetDict, codec: Codec) -> Iterator[tuple[bool, str]]:
        """Lines about the training data, to say before a run; True marks a warning."""
        return iter(())

    def describe_inputs(self, features: Dataset) -> str:
        """How many inputs the examples became: `1,024 windows`."""
        return "inputs"

    def use(self, run: str) -> str:
        """What to do with a finished run: a few words and a command."""
        return f"use it: llmkit predict {run} FILE -o OUTPUT"

    def score_rows(self, scores: Mapping[str, Any]) -> list[list[str]]:
        """Rows of the table of scores: name, percent, interval."""
        from llmkit.tasks.score_tables import rows_with_intervals

        return rows_with_intervals(self.headline, scores)

    def more_tables(self, scores: Mapping[str, Any]) -> Iterator[Table]:
        """Further tables below that of the scores."""
        return iter(())

    # --- what is published ---

    def graphs(self) -> Graphs:
        """How its models are exported as ONNX."""
        from llmkit.models.onnx import ENCODER

        return ENCODER

    def usage_example(self, model: Published) -> str:
        """Python that uses a published model with transformers alone, for its card. It must run as it is."""
        return f'''from transformers import {self.head.auto.__name__}, AutoTokenizer

name = "{model.name}"  # or a folder that holds its files
tokenizer = AutoTokenizer.from_pretrained(name)
model = {self.head.auto.__name__}.from_pretrained(name).eval()
print(model(**tokenizer("A text.", return_tensors="pt")))'''

    def usage_command(self, name: str, output: str) -> str:
        """The llmkit command that uses a published model, for its card."""
        return f"llmkit predict {name} FILE -o {output}"
