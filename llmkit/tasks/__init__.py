"""The tasks, by name. A new one is one constant here and whatever its module needs."""

from __future__ import annotations

from typing import Any

from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.base import Task
from llmkit.tasks.label.glue import GLUE
from llmkit.tasks.label.task import Classification
from llmkit.tasks.span.natural_questions import NaturalQuestions
from llmkit.tasks.span.task import ExtractiveQA
from llmkit.tasks.tags.task import Tagging
from llmkit.tasks.text.data_sets import TEXTS

TASKS: dict[str, Task[Any]] = {
    "squad": ExtractiveQA(
        name="squad",
        title="Extractive question answering: SQuAD 1.1, every question has its answer in the passage",
        hub_id="rajpurkar/squad",
        recipe="squad-bert-base",
    ),
    "squad_v2": ExtractiveQA(
        name="squad_v2",
        title="Extractive question answering: SQuAD 2.0, some questions have no answer in the passage",
        hub_id="rajpurkar/squad_v2",
        recipe="squad-v2-bert-base",
        null_answers=True,
    ),
    "natural_questions": NaturalQuestions(
        name="natural_questions",
        title="Extractive question answering: Natural Questions, short answers in whole Wikipedia articles",
        hub_id="google-research-datasets/natural_questions",
        recipe="natural-questions-bert-base",
    ),
    "classification": Classification(
        name="classification",
        title="Classification: labels of texts, or of pairs of texts, of your own",
        recipe="classification-bert-base",
        headline=("accuracy", "macro_f1"),
    ),
    **GLUE,
    "ner": Tagging(
        name="ner",
        title="Tagging: names of entities in sentences of words; CoNLL-2003 where no data is named",
        # The repository's own revision is a loading script, which datasets no longer runs; the Hub keeps a parquet
        # conversion of it beside it, with the names of the tags.
        hub_id="eriktks/conll2003",
        hub_revision="refs/convert/parquet",
        recipe="ner-bert-base",
    ),
    **TEXTS,
}


def task_named(name: str) -> Task[Any]:
    """A task by its name. Raises UserError where there is none."""
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}{did_you_mean(name, TASKS)}", remedy=f"tasks are {', '.join(TASKS)}")
    return TASKS[name]
