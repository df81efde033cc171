"""A whole new kind of task, in one file of the user's: trained, scored, used, exported, and described on its card."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from support import Command
from support.runs import command
from support.tasks import letters
from transformers import AutoConfig, BertConfig, BertForMaskedLM

from llmkit.sharing.usage_examples import NAME

# A head, a loss and a recipe of its own, and no method but those that it has to write and `labels`.
KIND = '''"""How severe a report is, 1 to 4: the model says of each threshold whether the report is above it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import binary_cross_entropy_with_logits

from llmkit.tasks.base import Task
from llmkit.tasks.bootstrap import percent_interval
from llmkit.tasks.examples import text_of
from llmkit.tasks.head import mean_per_target
from llmkit.tasks.label.head import HEAD
from llmkit.tasks.values import BadRow, Prediction, by_id


def targets(rows, length, codec):
    return {"labels": torch.tensor([row["above"] for row in rows])}


def loss(outputs, labels, num_items_in_batch=None, **_):
    total = binary_cross_entropy_with_logits(outputs["logits"].float(), labels, reduction="sum")
    return mean_per_target(total, labels, num_items_in_batch)


@dataclass(frozen=True)
class Ordinal(Task):
    levels: int = 4

    labelled: ClassVar[bool] = True

    @property
    def head(self):
        return replace(HEAD, noun="ordinal", targets=targets, loss=loss)

    def labels(self, examples):
        return tuple(f"above {level}" for level in range(1, self.levels))

    def example(self, row, data, *, labelled):
        level = row.get("severity")
        if labelled and level not in range(1, self.levels + 1):
            raise BadRow(f"'severity' is {level!r}, not 1 to {self.levels}")
        return {"text": text_of(row, "text", ("text", "severity")), "severity": level}

    def encode(self, examples, codec, data, *, training):
        ids = codec.tokenizer(examples["text"][:], truncation=True, max_length=data.max_length)["input_ids"]
        columns = {"input_ids": ids, "length": [len(row) for row in ids], "example": list(range(len(ids)))}
        if training:
            levels = examples["severity"][:]
            columns["above"] = [[float(level > other) for other in range(1, self.levels)] for level in levels]
        return Dataset.from_dict(columns)

    def decode(self, outputs, features, examples, codec, data, *, threshold=None):
        sure = [1 / (1 + np.exp(-output["logits"].astype(float))) for output in outputs]
        return [
            Prediction(example_id, str(1 + int((p > 0.5).sum())), float(np.maximum(p, 1 - p).min()))
            for example_id, p in zip(examples["id"][:], sure, strict=True)
        ]

    def score(self, predictions, examples, data):
        pairs = zip(by_id(predictions, examples), examples["severity"][:], strict=True)
        right = [float(found is not None and int(found.text) == level) for found, level in pairs]
        ends = percent_interval(right, examples["id"][:])
        return {"accuracy": 100 * float(np.mean(right)), "accuracy_interval": ends, "total": len(right)}


SEVERITY = Ordinal(
    name="severity",
    title="Ordinal regression: how severe a report is",
    recipe="severity.yaml",
    metric="accuracy",
    headline=("accuracy",),
    item="report",
)
TASKS = {SEVERITY.name: SEVERITY}
'''
RECIPE = """\
# Severity of reports on a tiny BERT. It is only for tests.
name: severity
task: severity
model: {pretrained: encoder}
data: {train: reports.jsonl, validation: reports.jsonl, max_length: 32}
train: {max_steps: 2, per_device_train_batch_size: 8, bf16: false}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, own_tasks_of_module: None) -> Path:
    """A folder with the kind's file, its recipe, its data, an encoder, and a run."""
    folder = tmp_path_factory.mktemp("kind")
    (folder / "severity.py").write_text(KIND)
    (folder / "severity.yaml").write_text(RECIPE)
    reports = [{"text": f"fire {'!' * (n % 4)} on deck {n}", "severity": 1 + n % 4} for n in range(24)]
    (folder / "reports.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reports))
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in reports))
    tokenizer = letters()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    command(folder, "finetune", "--tasks", "severity.py", "--task", "severity", "-o", "run")
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # after `llmkit`, which goes to an empty one


def test_it_is_trained_and_scored(folder: Path, llmkit: Command) -> None:
    scores = json.loads((folder / "run" / "metrics.json").read_text())
    assert (set(scores), scores["total"]) == ({"accuracy", "accuracy_interval", "total"}, 24)
    assert list(AutoConfig.from_pretrained(folder / "run" / "model").id2label.values()) == [
        "above 1",
        "above 2",
        "above 3",
    ]
    code, out, err = llmkit("eval", "run", "--tasks", "severity.py", "--json")
    assert (code, json.loads(out)) == (0, scores), err
    code, out, err = llmkit("eval", "run", "--tasks", "severity.py")
    assert code == 0, err
    assert "accuracy" in out
    predictions = ["--predictions", "run/predictions.jsonl", "--task", "severity", "--data", "reports.jsonl"]
    code, out, err = llmkit("eval", "--tasks", "severity.py", *predictions, "--json")
    assert (code, json.loads(out)) == (0, scores), err


def test_it_predicts_rows_without_answers(folder: Path, llmkit: Command) -> None:
    code, _, err = llmkit("predict", "run", "texts.jsonl", "-o", "predicted.jsonl", "--tasks", "severity.py")
    assert code == 0, err
    rows = [json.loads(line) for line in (folder / "predicted.jsonl").read_text().splitlines()]
    own = [json.loads(line) for line in (folder / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == [row["text"] for row in own]
    assert {row["text"] for row in rows} <= set("1234")


def test_a_report_shows_what_the_kind_tells(folder: Path, llmkit: Command) -> None:
    """It has no slices and no measures, and says so."""
    for package in ("matplotlib", "sklearn", "cleanlab"):
        pytest.importorskip(package)
    code, _, err = llmkit("report", "run", "-o", "report.html", "--tasks", "severity.py")
    assert code == 0, err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "accuracy, validation by step" in page
    assert "The task cuts its examples into no slices" in page


def test_its_bad_rows_are_named(folder: Path, llmkit: Command) -> None:
    (folder / "bad.jsonl").write_text('{"text": "fire", "severity": 9}\n')
    code, _, err = llmkit("eval", "run", "--data", "bad.jsonl", "--tasks", "severity.py")
    assert code == 1
    assert "bad.jsonl:1: 'severity' is 9, not 1 to 4" in err


@pytest.mark.slow
def test_it_is_exported(folder: Path, llmkit: Command) -> None:
    code, out, err = llmkit("export", "run", "-o", "onnx", "--tasks", "severity.py", "--json")
    assert code == 0, err
    assert (folder / "onnx" / "model.onnx").is_file()
    scores = json.loads((folder / "run" / "metrics.json").read_text())
    assert [model["scores"] for model in json.loads(out)["models"]] == [scores, scores]


def test_its_card_has_its_scores_and_an_example_that_runs(
    folder: Path, llmkit: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (folder / "run" / "model" / "README.md").read_text(encoding="utf-8")
    scores = json.loads((folder / "run" / "metrics.json").read_text())
    low, high = scores["accuracy_interval"]
    assert "Ordinal regression: how severe a report is." in text
    assert f"\n| accuracy | {scores['accuracy']:.2f} | {low:.2f} to {high:.2f} |\n" in text
    assert "Labels: `above 1`, `above 2`, `above 3`." in text
    assert {result.metric_type: result.metric_value for result in ModelCard(text).data.eval_results} == {
        "accuracy": pytest.approx(scores["accuracy"], abs=1e-4)
    }
    python, shell = (re.search(rf"```{language}\n(.*?)```", text, re.DOTALL) for language in ("python", "sh"))
    assert python is not None
    assert shell is not None
    capsys.readouterr()
    exec(python[1].replace(NAME, str(folder / "run" / "model")), {})
    assert "logits" in capsys.readouterr().out
    for line in shell[1].splitlines():
        assert line.endswith(" --tasks severity.py")
        words = line.replace(NAME, "run/model").replace("FILE", "reports.jsonl").split()
        code, _, err = llmkit(*words[1:])
        assert code == 0, f"{line}: {err}"
    assert "Its task is defined in `severity.py`" in text


def test_it_stands_among_the_tasks(llmkit: Command) -> None:
    code, out, err = llmkit("tasks", "--tasks", "severity.py")
    assert code == 0, err
    assert "Ordinal regression: how severe a report is" in out
    code, out, err = llmkit("recipes", "check", "severity.yaml", "--tasks", "severity.py")
    assert code == 0, err
    assert yaml.safe_load(out)["task"] == "severity"
