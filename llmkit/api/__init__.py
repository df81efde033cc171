"""The commands as functions, for notebooks and other programs: `import llmkit`.

The parameters have the names of the commands' options. Sections of a recipe are dictionaries:
`finetune("squad", train={"learning_rate": 3e-5})` is `llmkit finetune --task squad train.learning_rate=3e-5`.
Functions raise UserError for errors that the user can fix. Everything runs in this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.api.arguments import PathLike, Section, data_of, name_of, overrides_of, path_of, register
from llmkit.api.corpora import curate as curate
from llmkit.api.corpora import tokenize as tokenize
from llmkit.api.finished_run import Run as Run
from llmkit.api.many_runs import bench as bench
from llmkit.api.many_runs import search as search
from llmkit.api.vectors import embed as embed

if TYPE_CHECKING:
    from llmkit.commands.export import Report
    from llmkit.evidence.explanation import Explanation
    from llmkit.tasks.values import Prediction


def pretrain(
    recipe: PathLike = "bert-base",
    *,
    output: PathLike | None = None,
    resume: bool = False,
    auto_batch: bool = False,
    corpus: Section | None = None,
    model: Section | None = None,
    train: Section | None = None,
) -> Run:
    """Pretrain a model with random weights, or any masked LM further.

    `recipe` is a name or a path; `corpus`, `model` and `train` override its keys. With `resume`, a run that
    has started goes on, and a finished one is returned as it is, unless it becomes longer.
    """
    from llmkit.commands import pretrain as command
    from llmkit.commands.job import train as run_job
    from llmkit.recipes.pretraining import PretrainRecipe
    from llmkit.recipes.reading import read_recipe
    from llmkit.system.processes import world_size
    from llmkit.training.resuming import finished_run

    settings = read_recipe(PretrainRecipe, str(recipe), overrides_of(corpus=corpus, model=model, train=train))
    if resume and (finished := finished_run(settings, path_of(output), world_size())):
        return Run(finished.path)
    return Run(run_job(command.prepare(settings, path_of(output), resume=resume, auto_batch=auto_batch)).path)


def finetune(
    task: str | None = None,
    *,
    recipe: PathLike | None = None,
    output: PathLike | None = None,
    resume: bool = False,
    auto_batch: bool = False,
    tasks: PathLike | None = None,
    model: Section | None = None,
    data: Section | None = None,
    train: Section | None = None,
    generation: Section | None = None,
) -> Run:
    """Fine-tune a checkpoint on a task.

    Without `recipe`, uses the task's default recipe. `tasks` is a Python file with your own tasks. The sections
    override the keys of the recipe. With `resume`, a run that has started goes on, and a finished one is returned as it
    is, unless it becomes longer.
    """
    from llmkit.commands import finetune as command
    from llmkit.commands.job import train as run_job
    from llmkit.system.processes import world_size
    from llmkit.training.resuming import finished_run

    register(tasks)
    overrides = overrides_of(model=model, data=data, train=train, generation=generation)
    settings = command.recipe_of(task, str(recipe) if recipe is not None else None, overrides)
    if resume and (finished := finished_run(settings, path_of(output), world_size())):
        return Run(finished.path)
    return Run(run_job(command.prepare(settings, path_of(output), resume=resume, auto_batch=auto_batch)).path)


def evaluate(
    model: PathLike | Run,
    *,
    task: str | None = None,
    data: PathLike | Section | None = None,
    split: str = "validation",
    output: PathLike | None = None,
    batch_size: int | None = None,
    tasks: PathLike | None = None,
) -> dict[str, Any]:
    """Score a run or a checkpoint. Scores are in percent, with intervals.

    `data` is a file, a folder, a Hub id, or a data section: `{"path": "other.csv", "label_column": "topic"}`.
    """
    from llmkit.commands import evaluate as command
    from llmkit.tasks.settings import settings_of

    register(tasks)
    path, overrides = data_of(data)
    settings = settings_of(name_of(model), task, path, overrides)
    return command.evaluate(command.prepare(settings, split, path_of(output)), batch_size)


def compare(
    *systems: PathLike | Run,
    task: str | None = None,
    data: PathLike | Section | None = None,
    split: str = "validation",
    tasks: PathLike | None = None,
) -> dict[str, Any]:
    """Compare runs, folders of several seeds, or predictions files. Returns what `llmkit compare --json` prints."""
    from llmkit.commands import compare as command

    register(tasks)
    path, overrides = data_of(data)
    prepared = command.prepare([name_of(system) for system in systems], task, path, split, overrides)
    return command.as_json(prepared, command.run(prepared))


def report(*runs: PathLike | Run, output: PathLike, tasks: PathLike | None = None) -> list[str]:
    """Write a page about the first run, with the curves of all. Returns what stands out, in sentences."""
    from llmkit.commands import report as command
    from llmkit.evidence.page import check_page

    register(tasks)
    check_page(Path(output))
    found = command.run(command.prepare([name_of(run) for run in runs]), Path(output))
    return [line for section in found for line in section.said]


def audit(
    model: PathLike | Run,
    *parts: str,
    corpus: PathLike | None = None,
    examples: int = 500,
    crows_pairs: PathLike | None = None,
    stereoset: PathLike | None = None,
    output: PathLike | None = None,
    task: str | None = None,
    data: PathLike | Section | None = None,
    split: str = "validation",
    tasks: PathLike | None = None,
) -> dict[str, Any]:
    """Audit a model; without `parts`, in all of them. Returns what `llmkit audit --json` prints, and writes what the
    command does."""
    from llmkit.commands import audit as command
    from llmkit.evidence.audit.audited import Wanted

    register(tasks)
    path, overrides = data_of(data)
    wanted = Wanted(path_of(corpus), examples, path_of(crows_pairs), path_of(stereoset))
    prepared = command.prepare(name_of(model), parts, wanted, task=task, data=path, split=split, overrides=overrides)
    found = command.as_json(prepared, command.run(prepared))
    command.save(name_of(model), found, path_of(output))
    return found


def predict(
    model: PathLike | Run,
    rows: PathLike | Sequence[Mapping[str, Any]],
    *,
    task: str | None = None,
    data: Section | None = None,
    batch_size: int | None = None,
    tasks: PathLike | None = None,
) -> list[Prediction]:
    """Return a prediction for each row. `rows` is a file or a list of rows with the columns that the task reads.

    `data` says how to read rows: `{"text_column": "body"}`. For files larger than memory, use `llmkit predict`.
    """
    from llmkit.commands import predict as command
    from llmkit.tasks.settings import settings_of

    register(tasks)
    source = str(rows) if isinstance(rows, str | Path) else "rows"
    settings = settings_of(name_of(model), task, source, overrides_of(data=data))
    return command.predict_in_memory(settings, source, None if isinstance(rows, str | Path) else rows, batch_size)


def ask(model: PathLike | Run, question: str, context: str, *, tasks: PathLike | None = None) -> Prediction:
    """Answer a question from a passage of any length. The answer's `text` is empty if the model abstains."""
    from llmkit.commands import ask as command

    register(tasks)
    return command.ask(name_of(model), question, command.passage_of(context, None), "the passage").prediction


def explain(
    model: PathLike | Run,
    *,
    question: str | None = None,
    context: str | None = None,
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    word: str | None = None,
    task: str | None = None,
    tasks: PathLike | None = None,
) -> Explanation:
    """Explain the answer to a question, or the label, number or tag of a text: which words carry it."""
    from llmkit.commands import explain as command
    from llmkit.tasks.explained import Typed, Wanted

    register(tasks)
    typed, wanted = Typed(question, context, text, pair), Wanted(label, word)
    return command.explain_typed(name_of(model), typed, wanted, task).explanation


def export(
    model: PathLike | Run,
    output: PathLike,
    *,
    int8: bool = False,
    task: str | None = None,
    data: PathLike | Section | None = None,
    split: str = "validation",
    examples: int | None = None,
    tasks: PathLike | None = None,
) -> Report:
    """Export a model to ONNX and check it against PyTorch. The report's `models` have sizes, speeds and scores."""
    from llmkit.commands import export as command

    register(tasks)
    path, overrides = data_of(data)
    subject = command.prepare(
        name_of(model), Path(output), task=task, data=path, overrides=overrides, split=split, examples=examples
    )
    return command.export(subject, Path(output), int8=int8)
