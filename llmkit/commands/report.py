"""`llmkit report`: one page about a run: its scores, where it is weak, and how it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.evidence.report.page import write_report
from llmkit.evidence.report.reported import Logged, Reported, Section
from llmkit.evidence.systems import PREDICTIONS, check_scored_on
from llmkit.recipes.finetuning import DataSection
from llmkit.system.console import say, warn
from llmkit.system.errors import UserError
from llmkit.system.extras import need
from llmkit.system.files import parse_json, read_text
from llmkit.system.machine import quiet
from llmkit.system.run_folder import NOT_A_RUN, RunDir
from llmkit.system.seed_runs import runs_of
from llmkit.tasks import task_named
from llmkit.tasks.base import Task
from llmkit.tasks.examples import load_examples
from llmkit.tasks.features import examples_fingerprint
from llmkit.tasks.predictions import of_examples, read_predictions
from llmkit.tasks.user_tasks import check_tasks_file

if TYPE_CHECKING:
    from datasets import Dataset

PACKAGES = ("cleanlab", "jinja2", "matplotlib", "sklearn")


@dataclass(frozen=True)
class Prepared:
    """The runs, and the first of them with its predictions; None if it has none, as in pretraining."""

    runs: list[Logged]
    reported: Reported | None


def prepare(names: Sequence[str]) -> Prepared:
    """Read runs, and the examples and predictions of the first. A folder of several seeds counts as its runs.

    Raises UserError if one is no run, or if the first was scored on other examples than its data has now.
    """
    need("report", PACKAGES)
    quiet()
    folders = [run for name in names for run in runs_of(Path(name))]
    for run in folders:
        if not run.started:
            raise UserError(f"{run.path} is not a run", remedy=NOT_A_RUN)
    runs = [_logged(run) for run in folders]
    return Prepared(runs, _reported(folders[0], runs[0]))


def _logged(run: RunDir) -> Logged:
    metrics = run.path / "metrics.json"
    scores = parse_json(read_text(metrics), metrics) if run.finished else {}
    return Logged(str(run.path), run.recipe(), scores, run.log_rows())


def _reported(run: RunDir, logged: Logged) -> Reported | None:
    file = run.path / PREDICTIONS
    if "task" not in logged.recipe or not run.finished:
        return None
    if not file.is_file():
        raise UserError(
            f"{run.path} has no {PREDICTIONS}",
            remedy=f"write it with llmkit eval {run.path} -o FOLDER, and copy it into the run",
        )
    check_tasks_file(run, logged.recipe["task"])
    task = task_named(logged.recipe["task"])
    data = task.data_class(**logged.recipe["data"])
    examples = load_examples(task, data, ["validation"])["validation"]
    remedy = "restore the data that its recipe names, or fine-tune it again on those of now"
    check_scored_on(run, examples_fingerprint(examples), "its data as they are now", remedy)
    predictions = of_examples(
        read_predictions(file), examples["id"][:], file=file, data=f"the data of {run.path}", items=f"{task.item}s"
    )
    found = Reported(logged, task, data, examples, predictions)
    return replace(found, train=_training(task, data)) if found.review.slices_by_training else found


def _training(task: Task[Any], data: DataSection) -> Dataset | None:
    """The training examples; None if they are no longer at hand."""
    try:
        return load_examples(task, data, ["train"])["train"]
    except UserError as error:
        warn(f"without the training examples: {error}")
        return None


def run(prepared: Prepared, output: Path) -> list[Section]:
    """Write the page. Returns its sections."""
    return write_report(prepared.runs, prepared.reported, output)


def show(found: Sequence[Section], output: Path) -> None:
    """Print what stands out, and where the page is."""
    for line in (line for section in found for line in section.said):
        say(line)
    say(f"wrote {output}: open it in a browser")
