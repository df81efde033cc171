"""The extractive question answering tasks."""

from __future__ import annotations

from llmkit.tasks.span.cmrc2018 import Cmrc2018
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
    ExtractiveQA(
        name="xquad",
        title="Extractive question answering: XQuAD, questions of SQuAD in 12 languages (data.name=xquad.zh)",
        hub_id="google/xquad",
        hub_name="xquad.en",
        recipe="squad-bert-multilingual",
    ),
    ExtractiveQA(
        name="mlqa",
        title="Extractive question answering: MLQA, questions on Wikipedia in 7 languages (data.name=mlqa.zh.zh)",
        # The main revision is a loading script, which `datasets` no longer runs.
        hub_id="facebook/mlqa",
        hub_name="mlqa.en.en",
        hub_revision="refs/convert/parquet",
        recipe="squad-bert-multilingual",
        script="mlqa",
    ),
    Cmrc2018(
        name="cmrc2018",
        title="Extractive question answering: CMRC 2018, questions on Wikipedia in Chinese",
        hub_id="hfl/cmrc2018",
        recipe="cmrc2018-bert-base-chinese",
    ),
    NaturalQuestions(
        name="natural_questions",
        title="Extractive question answering: Natural Questions, short answers in whole Wikipedia articles",
        hub_id="google-research-datasets/natural_questions",
        recipe="natural-questions-bert-base",
    ),
)
