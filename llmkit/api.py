"""The commands as functions, for notebooks and other programs: `import llmkit`.

They take what the commands take, under the same names, and return values. Sections of a recipe are dictionaries with
the recipe's own keys: `finetune("squad", train={"learning_rate": 3e-5})` is `llmkit finetune --task squad
train.learning_rate=3e-5`. What a user can fix raises UserError. Everything runs in this process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.commands.export import Report
    from llmkit.tasks.values import Prediction

Section = Mapping[str, Any]
Place = str | Path


class Run:
    """The folder of a finished run: `Run("runs/mine")`. Raises UserError where there is none."""

    def __init__(self, path: Place) -> None:
        self.path = Path(path)
        if not (self.path / "recipe.yaml").is_file():
            raise UserError(f"{path} holds no run", remedy="give the folder of a run")
        if not RunDir(self.path).finished:
            raise UserError(f"{path} is not finished", remedy=f"finish it first: --resume -o {path}")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe."""
        return RunDir(self.path).recipe()

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of the best checkpoint on the validation data: metrics.json."""
        scores: dict[str, Any] = json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))
        return scores

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl, oldest first: step, loss, learning rate, tokens per second, scores."""
        return [json.loads(line) for line in (self.path / "log.jsonl").read_text(encoding="utf-8").splitlines()]

    @property
    def predictions(self) -> list[Prediction]:
        """The predictions for the validation data; empty for a pretraining run."""
        from llmkit.commands.evaluate import read_predictions

        file = self.path / "predictions.jsonl"
        return read_predictions(file) if file.is_file() else []

    def model(self) -> PreTrainedModel:
        """The model, loaded by transformers, in evaluation mode."""
        from transformers import AutoModelForMaskedLM

        from llmkit.models.checkpoint import Checkpoint
        from llmkit.system.machine import quiet
        from llmkit.tasks.purpose import purpose_of

        quiet()
        checkpoint, purpose = Checkpoint.named(str(self.path)), purpose_of(str(self.path))
        loaded: PreTrainedModel
        loaded, _ = checkpoint.load(purpose.task.head.auto if purpose else AutoModelForMaskedLM)
        loaded.eval()
        return loaded

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The model's tokenizer."""
        from llmkit.models.checkpoint import Checkpoint

        return Checkpoint.named(str(self.path)).tokenizer()


def tokenize(*sources: Place, output: Place | None = None, tokenizer: Section | None = None) -> Path:
    """Make token shards of `sources`, each as `llmkit tokenize -c` takes it; returns their folder.

    Without `output` the folder is in the cache, named by its content.
    """
    from llmkit.commands import tokenize as command
    from llmkit.recipes.pretraining import TokenizeRecipe
    from llmkit.recipes.reading import recipe_from
    from llmkit.system.machine import quiet

    recipe = recipe_from(TokenizeRecipe, {"sources": [str(source) for source in sources]}, _keys(tokenizer=tokenizer))
    quiet()
    return command.tokenize(command.prepare(recipe.sources, recipe.tokenizer, _path(output)))


def pretrain(
    recipe: Place = "bert-base",
    *,
    output: Place | None = None,
    resume: bool = False,
    auto_batch: bool = False,
    corpus: Section | None = None,
    model: Section | None = None,
    train: Section | None = None,
) -> Run:
    """Pretrain a BERT, by a recipe's name or path; the sections take the place of the recipe's keys."""
    from llmkit.commands import pretrain as command
    from llmkit.commands.job import train as run_job
    from llmkit.recipes.pretraining import PretrainRecipe
    from llmkit.recipes.reading import read_recipe

    settings = read_recipe(PretrainRecipe, str(recipe), _keys(corpus=corpus, model=model, train=train))
    return Run(run_job(command.prepare(settings, _path(output), resume=resume, auto_batch=auto_batch)).path)


def finetune(
    task: str | None = None,
    *,
    recipe: Place | None = None,
    output: Place | None = None,
    resume: bool = False,
    auto_batch: bool = False,
    tasks: Place | None = None,
    model: Section | None = None,
    data: Section | None = None,
    train: Section | None = None,
    generation: Section | None = None,
) -> Run:
    """Fine-tune a model on a task, by the task's own recipe or another one; `tasks` is a file of tasks of your own."""
    from llmkit.commands import finetune as command
    from llmkit.commands.job import train as run_job

    _use(tasks)
    overrides = _keys(model=model, data=data, train=train, generation=generation)
    settings = command.recipe_of(task, str(recipe) if recipe is not None else None, overrides)
    return Run(run_job(command.prepare(settings, _path(output), resume=resume, auto_batch=auto_batch)).path)


def evaluate(
    model: Place | Run,
    *,
    task: str | None = None,
    data: Place | Section | None = None,
    split: str = "validation",
    output: Place | None = None,
    batch_size: int = 32,
    tasks: Place | None = None,
) -> dict[str, Any]:
    """The scores of a run or a checkpoint, in percent, with intervals.

    `data` is a file, folder or Hub id, or a section: `{"path": "other.csv", "label_column": "topic"}`.
    """
    from llmkit.commands import evaluate as command
    from llmkit.tasks.settings import settings_of

    _use(tasks)
    place, overrides = _data(data)
    settings = settings_of(_name(model), task, place, overrides)
    return command.evaluate(command.prepare(settings, split, _path(output)), batch_size)


def predict(
    model: Place | Run,
    rows: Place | Sequence[Mapping[str, Any]],
    *,
    task: str | None = None,
    data: Section | None = None,
    batch_size: int = 32,
    tasks: Place | None = None,
) -> list[Prediction]:
    """A prediction for each row: of a file, or of rows in memory, in the columns that the task reads.

    `data` says how rows are read: `{"text_column": "body"}`. (`llmkit predict` writes a file of any size.)
    """
    from llmkit.commands import predict as command
    from llmkit.tasks.settings import settings_of

    _use(tasks)
    source = str(rows) if isinstance(rows, str | Path) else "rows"
    settings = settings_of(_name(model), task, source, _keys(data=data))
    return command.predict_in_memory(settings, source, None if isinstance(rows, str | Path) else rows, batch_size)


def ask(model: Place | Run, question: str, context: str, *, tasks: Place | None = None) -> Prediction:
    """The answer to a question from a passage of any length; its `text` is empty where the model abstains."""
    from llmkit.commands import ask as command

    _use(tasks)
    return command.ask(_name(model), question, command.passage_of(context, None), "the passage").prediction


def export(
    model: Place | Run,
    output: Place,
    *,
    int8: bool = False,
    task: str | None = None,
    data: Place | Section | None = None,
    split: str = "validation",
    examples: int | None = None,
    tasks: Place | None = None,
) -> Report:
    """Export a model as ONNX, checked against PyTorch; the report's `models` hold sizes, speeds and scores."""
    from llmkit.commands import export as command

    _use(tasks)
    place, overrides = _data(data)
    subject = command.prepare(
        _name(model), Path(output), task=task, data=place, overrides=overrides, split=split, examples=examples
    )
    return command.export(subject, Path(output), int8=int8)


def _name(model: Place | Run) -> str:
    return str(model.path if isinstance(model, Run) else model)


def _path(place: Place | None) -> Path | None:
    return Path(place) if place is not None else None


def _use(tasks: Place | None) -> None:
    if tasks is not None:
        from llmkit.tasks.user_tasks import use_tasks

        use_tasks(Path(tasks))


def _data(data: Place | Section | None) -> tuple[str | None, list[str]]:
    """Where the data is, and how to read it, as the commands take them."""
    if data is None or isinstance(data, str | Path):
        return (str(data) if data is not None else None), []
    reading = dict(data)
    place = reading.pop("path", None)
    return (str(place) if place is not None else None), _keys(data=reading)


def _keys(**sections: Section | None) -> list[str]:
    """Sections of a recipe as overrides: `train.learning_rate=3e-05`."""

    def plain(value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    return [
        f"{name}.{key}={json.dumps(value, default=plain)}"
        for name, section in sections.items()
        for key, value in (section or {}).items()
    ]
