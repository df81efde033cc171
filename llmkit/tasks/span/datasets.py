"""The extractive question answering tasks."""

from __future__ import annotations

from llmkit.tasks.span.natural_questions import NaturalQuestions
from llmkit.tasks.span.task import ExtractiveQA

SPANS = (
    ExtractiveQA(
        name="squad",
        title="Extractive question answering: SQuAD 1.1, every question has an answer in the passage",
        hub_id="rajpurkar/squad",
        recipe="squad-bert-base",
    ),
    ExtractiveQA(
        name="squad_v2",
        title="Extractive question answering: SQuAD 2.0, some questions have no answer in the passage",
        hub_id="rajpurkar/squad_v2",
        recipe="squad-v2-bert-base",
        null_answers=True,
    ),
    NaturalQuestions(
        name="natural_questions",
        title="Extractive question answering: Natural Questions, short answers in whole Wikipedia articles",
        hub_id="google-research-datasets/natural_questions",
        recipe="natural-questions-bert-base",
    ),
)
