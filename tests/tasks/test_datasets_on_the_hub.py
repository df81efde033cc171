"""The datasets of tasks as the Hub holds them: their configurations, splits and names of labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.hub import StandInHub
from support.hub_process import Ran, command, examples, in_one_process
from support.hub_repos import (
    CONLL_SENTENCES,
    CONLL_TAGS,
    GLUE,
    SQUAD_TRAIN,
    SQUAD_V2_VALIDATION,
    SQUAD_VALIDATION,
    add_cmrc2018,
    add_conll2003,
    add_glue,
    add_mlqa,
    add_natural_questions,
    add_squad,
    add_squad_v2,
    add_xquad,
    rows_of,
)
from support.tasks import letters
from transformers import BertConfig, BertForQuestionAnswering, BertForSequenceClassification

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.tasks import TASKS
from llmkit.tasks.purpose import write_purpose
from llmkit.tasks.span.sections import SpanData

pytestmark = pytest.mark.oldest
# Configurations of one language, by a name for the step.
SPANS = {"Chinese": "xquad.zh", "German": "mlqa.de.de", "German and English": "mlqa.de.en", "English": "mlqa.en.en"}
READ = ("squad", "squad_v2", "natural_questions", "ner", *(name for name in TASKS if name.startswith("glue/")))


@dataclass(frozen=True)
class Answers:
    """The folder in which the tasks' datasets were read and used, and how each step ended."""

    folder: Path
    ran: dict[str, Ran]

    def examples(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """The examples that were read, by split."""
        assert self.ran[name].code == 0, self.ran[name].err
        found: dict[str, list[dict[str, Any]]] = json.loads(self.ran[name].out)
        return found


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("datasets")
    tokenizer = letters()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    labels = dict(enumerate(("entailment", "neutral", "contradiction")))
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), id2label=labels, **shape))
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    steps = {}
    for name in READ:
        recipe = read_recipe(FinetuneRecipe, TASKS[name].recipe, [f"task={name}"], tasks=TASKS)
        steps[name] = examples(name, recipe.data.model_dump(exclude_unset=True), "train", "validation")
    for name, config in SPANS.items():
        task = TASKS[config.partition(".")[0]]
        steps[name] = examples(
            task.name, {"path": task.hub_id, "revision": task.hub_revision, "name": config}, "validation"
        )
    steps["cmrc2018"] = examples("cmrc2018", {"path": TASKS["cmrc2018"].hub_id}, "train", "validation")
    steps["dev"] = examples(
        "natural_questions", {"path": TASKS["natural_questions"].hub_id, "name": "dev"}, "validation"
    )
    evaluate = ["eval", "model", "--task", "glue/mnli", "--data", "nyu-mll/glue"]
    reader = BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), **shape))
    reader.save_pretrained(folder / "reader")
    tokenizer.save_pretrained(folder / "reader")
    write_purpose(folder / "reader", TASKS["squad"], SpanData(path="x", max_length=64, doc_stride=16), None)
    for config in ("xquad.zh", "mlqa.de.de", "xquad.xx", "mlqa.xx.xx"):
        task_name = config.partition(".")[0]
        steps[config] = command("eval", "reader", "--task", task_name, f"data.name={config}", "--json")
    steps["finetune"] = command("finetune", "--task", "xquad", "model.pretrained=reader")
    steps["mnli"] = command(*evaluate, "--json")
    steps["mnli, test"] = command(*evaluate, "--split", "test")
    with StandInHub() as hub:
        for add in (
            add_squad,
            add_squad_v2,
            add_natural_questions,
            add_conll2003,
            add_glue,
            add_xquad,
            add_mlqa,
            add_cmrc2018,
        ):
            add(hub)
        return Answers(folder, in_one_process(hub.environ(folder / "hf"), folder, steps))


def test_squad(answers: Answers) -> None:
    found = answers.examples("squad")
    for rows, expected in ((found["train"], SQUAD_TRAIN), (found["validation"], SQUAD_VALIDATION)):
        assert [(row["id"], row["answers"]) for row in rows] == [(row["id"], row["answers"]) for row in expected]
    without = [row["answers"]["text"] for row in answers.examples("squad_v2")["validation"]]
    assert without == [row["answers"]["text"] for row in SQUAD_V2_VALIDATION]
    assert [] in without, "some questions of squad_v2 have no answer"


def test_configurations_of_a_language(answers: Answers) -> None:
    found = {name: [row["context"] for row in answers.examples(name)["validation"]] for name in SPANS}
    assert found["Chinese"] == [row["context"] for row in rows_of("xquad")]
    assert found["German"] == [row["context"] for row in rows_of("mlqa")]
    assert (len(found["German and English"]), len(found["English"])) == (1, 2)
    (row,) = [row for row in answers.examples("cmrc2018")["train"] if row["unplaced"]]
    assert row["answers"]["answer_start"] == [23, 23], "one of its answers starts a character further on than it says"


def test_a_model_for_squad_is_scored_on_another_language(answers: Answers) -> None:
    """The task brings its dataset, and the configuration its language."""
    for config, normalization in (("xquad.zh", "MLQA, zh"), ("mlqa.de.de", "MLQA, de")):
        assert answers.ran[config].code == 0, answers.ran[config].err
        scores = json.loads(answers.ran[config].out)
        assert (scores["total"], scores["normalization"]) == (3, normalization)
    for step, named in (("xquad.xx", "xquad.xx"), ("mlqa.xx.xx", "mlqa.xx.xx"), ("finetune", 'split "train"')):
        assert answers.ran[step].code == 1
        assert named in answers.ran[step].err
        assert "Traceback" not in answers.ran[step].err
    assert "fine-tune on other data" in answers.ran["finetune"].err


def test_natural_questions(answers: Answers) -> None:
    found = answers.examples("natural_questions")
    train, validation = found["train"], found["validation"]
    assert answers.examples("dev")["validation"] == validation
    assert [row["id"] for row in train] == ["-1", "2", "3", "4"]
    assert {row["context"] for row in train} == {"A tide is the rise and fall of the sea ."}
    whole = "the rise and fall of the sea ."
    assert [row["answers"]["text"] for row in train] == [[whole], ["tide is the rise and fall of the sea ."], [], []]
    assert [row["annotations"][0]["yes_no"] for row in train] == ["NONE", "NONE", "NONE", "YES"]
    assert [row["answers"]["text"] for row in validation] == [[whole, "the rise and fall"], [], []]
    assert [len(row["annotations"]) for row in validation] == [5, 5, 5]


def test_conll_2003(answers: Answers) -> None:
    tags = [row["tags"] for row in answers.examples("ner")["train"]]
    assert tags == [[CONLL_TAGS[number] for number in numbers] for _, numbers in CONLL_SENTENCES]


@pytest.mark.parametrize("config", GLUE)
def test_glue(config: str, answers: Answers) -> None:
    columns, names, rows = GLUE[config]
    splits = answers.examples(f"glue/{config}")
    assert [(row["text"], row["pair"])[: len(columns)] for row in splits["train"]] == [row[:-1] for row in rows]
    labels = [names[row[-1]] if names else str(row[-1]) for row in rows]
    assert [row["label"] for row in splits["train"]] == labels, "the names are those of the repository"
    assert [row["label"] for row in splits["validation"]] == labels * (2 if config == "mnli" else 1)


def test_the_two_parts_of_mnli(answers: Answers) -> None:
    rows = answers.examples("glue/mnli")["validation"]
    assert [row["part"] for row in rows] == ["validation_matched"] * 3 + ["validation_mismatched"] * 3
    assert len({row["id"] for row in rows}) == 6, "each of the two counts its rows from 0"
    assert answers.ran["mnli"].code == 0, answers.ran["mnli"].err
    scores = json.loads(answers.ran["mnli"].out)
    assert scores["accuracy"] == scores["accuracy_mismatched"], "they hold the same three pairs here"


def test_a_split_whose_labels_are_secret(answers: Answers) -> None:
    refused = answers.ran["mnli, test"]
    assert refused.code == 1
    assert "no pair of the test_matched split has a label, so there is nothing to learn or to score" in refused.err
