"""The tasks, by name. A new one is one constant here and whatever its module needs."""

from __future__ import annotations

from typing import Any

from llmkit.errors import UserError, did_you_mean
from llmkit.tasks.base import Task
from llmkit.tasks.classification import Classification
from llmkit.tasks.extractive_qa import ExtractiveQA
from llmkit.tasks.glue import GLUE
from llmkit.tasks.natural_questions import NaturalQuestions
from llmkit.tasks.seq2seq import Seq2Seq

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
    "summarization": Seq2Seq(
        name="summarization",
        title="Summarization: any file of documents and summaries",
        recipe="summarization-bert2bert",
        measure="summary",
        source="document",
        target="summary",
        item="document",
    ),
    "xsum": Seq2Seq(
        name="xsum",
        title="Summarization: XSum, one sentence of a BBC article",
        hub_id="EdinburghNLP/xsum",
        recipe="summarization-bert2bert",
        measure="summary",
        source="document",
        target="summary",
        item="document",
    ),
    "cnn_dailymail": Seq2Seq(
        name="cnn_dailymail",
        title="Summarization: CNN and Daily Mail, the highlights of an article",
        hub_id="abisee/cnn_dailymail",
        hub_name="3.0.0",
        recipe="summarization-bert2bert",
        measure="summary",
        source="article",
        target="highlights",
        item="document",
    ),
    "translation": Seq2Seq(
        name="translation",
        title="Translation: any file of texts in two languages",
        recipe="translation-small",
        measure="translation",
        source="en",
        target="de",
        item="sentence",
    ),
    "wmt14": Seq2Seq(
        name="wmt14",
        title="Translation: WMT 2014, English to German unless data.source_column and data.target_column say otherwise",
        hub_id="wmt/wmt14",
        hub_name="de-en",
        recipe="translation-base",
        measure="translation",
        source="en",
        target="de",
        item="sentence",
    ),
    "wmt16": Seq2Seq(
        name="wmt16",
        title="Translation: WMT 2016, English to German unless data.source_column and data.target_column say otherwise",
        hub_id="wmt/wmt16",
        hub_name="de-en",
        recipe="translation-base",
        measure="translation",
        source="en",
        target="de",
        item="sentence",
    ),
    "semantic_parsing": Seq2Seq(
        name="semantic_parsing",
        title="Semantic parsing: any file of questions and queries",
        recipe="semantic-parsing-bert2bert",
        measure="program",
        source="question",
        target="query",
        item="question",
    ),
    "geoquery": Seq2Seq(
        name="geoquery",
        title="Semantic parsing: GeoQuery, questions on US geography to SQL",
        recipe="semantic-parsing-bert2bert",
        measure="program",
        source="question",
        target="query",
        item="question",
    ),
    "spider": Seq2Seq(
        name="spider",
        title="Semantic parsing: Spider, questions on many databases to SQL",
        hub_id="xlangai/spider",
        recipe="semantic-parsing-bert2bert",
        measure="program",
        source="question",
        target="query",
        item="question",
    ),
    "scan": Seq2Seq(
        name="scan",
        title="Semantic parsing: SCAN, commands to actions",
        recipe="scan",
        measure="program",
        source="commands",
        target="actions",
        item="command",
    ),
}


def task_named(name: str) -> Task[Any]:
    """A task by its name. Raises UserError where there is none."""
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}{did_you_mean(name, TASKS)}", remedy=f"tasks are {', '.join(TASKS)}")
    return TASKS[name]
