"""The head of a checkpoint that is fine-tuned further: its outputs keep their meaning, or begin afresh."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tasks import letters
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples
from llmkit.tasks.kept_heads import in_own_order

SHAPE: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
DATA = ("contradiction", "entailment", "neutral")  # in the order in which a run would number them


def prepared(folder: Path, labels: Sequence[str], kind: Any = BertForSequenceClassification, task: str = "") -> Any:
    """A checkpoint with these labels, and the model and labels that a run would train on data with DATA's labels."""
    tokenizer = letters()
    config = BertConfig(vocab_size=len(tokenizer), id2label=dict(enumerate(labels)), **SHAPE)
    own = kind(config)
    torch.nn.init.normal_(own.classifier.bias)
    own.save_pretrained(folder / "ck")
    tokenizer.save_pretrained(folder / "ck")
    name = task or "classification"
    if name == "ner":
        rows = '{"tokens": ["a", "b", "c"], "tags": ["B-LOC", "O", "B-PER"]}\n'
    elif name == "regression":
        rows = '{"text": "a", "label": 1900}\n{"text": "b", "label": 2000}\n'
    else:
        column = "hypothesis" if name == "glue/mnli" else "text"
        rows = "".join(f'{{"premise": "a", "{column}": "a", "label": "{label}"}}\n' for label in DATA)
    (folder / "rows.jsonl").write_text(rows)
    return own, *trained(folder, name)


def trained(folder: Path, name: str) -> tuple[Any, tuple[str, ...]]:
    """The model and labels that a run of the task `name` would train."""
    given = [f"data.{split}={folder / 'rows.jsonl'}" for split in ("train", "validation")]
    overrides = [f"task={name}", *given, f"model.pretrained={folder / 'ck'}"]
    recipe = read_recipe(FinetuneRecipe, TASKS[name].recipe, overrides, tasks=TASKS)
    examples = load_examples(TASKS[name], recipe.data, ["train"])["train"]
    checkpoint = Checkpoint.named(str(folder / "ck"))
    codec = TASKS[name].codec_to_train(recipe, checkpoint, examples)
    return TASKS[name].model_to_train(recipe, checkpoint, codec), codec.labels


def same_head(own: Any, model: Any) -> bool:
    return torch.equal(own.classifier.weight, model.classifier.weight)


@pytest.mark.parametrize("task", ["classification", "glue/mnli"])
@pytest.mark.parametrize(
    "labels", [("neutral", "contradiction", "entailment"), ("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), DATA]
)
def test_the_same_labels(labels: Sequence[str], task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, model, known = prepared(tmp_path, labels, task=task)
    assert known == tuple(label.lower() for label in labels)
    assert model.config.id2label == dict(enumerate(known))
    assert same_head(own, model)
    assert "has a classification head for these labels, which is kept" in capsys.readouterr().err


def test_outputs_without_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, model, known = prepared(tmp_path, ["LABEL_0", "LABEL_1", "LABEL_2"])
    assert known == DATA
    assert same_head(own, model)
    told = (
        "does not name its outputs; assuming that LABEL_0 is contradiction, LABEL_1 is entailment, LABEL_2 is neutral"
    )
    assert told in capsys.readouterr().err


def test_other_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, model, known = prepared(tmp_path, ["good", "bad", "so-so"])
    assert known == DATA
    assert not same_head(own, model)
    assert model.classifier.bias.eq(0).all()
    assert torch.equal(own.bert.pooler.dense.weight, model.bert.pooler.dense.weight)
    told = "is for other labels (good, bad, so-so): classifier starts from random weights"
    assert told in capsys.readouterr().err


def test_a_head_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tagging head has weights of the same name and size."""
    own, model, _ = prepared(tmp_path, DATA, BertForTokenClassification)
    assert not same_head(own, model)
    assert "is for another kind of task: classifier starts from random weights" in capsys.readouterr().err


def test_tags(tmp_path: Path) -> None:
    own, model, known = prepared(tmp_path, ["B-PER", "O", "B-LOC"], BertForTokenClassification, "ner")
    assert known == ("B-PER", "O", "B-LOC")
    assert same_head(own, model)


@pytest.mark.parametrize("name", ["SIMILARITY", "LABEL_0", "score"])
def test_one_number_by_any_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training goes on from the checkpoint's numbers: neither the head nor its unit is new."""
    own, model, _ = prepared(tmp_path, [name], task="regression")
    assert f"has a head for one number ({name}), which is kept" in capsys.readouterr().err
    inputs = torch.tensor([[1, 2]])
    assert torch.allclose(model.eval()(inputs).logits, own.eval()(inputs).logits, atol=1e-2)


def test_one_number_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, model, _ = prepared(tmp_path, ["x"], BertForTokenClassification, "regression")
    assert not same_head(own, model)
    assert model.classifier.bias.eq(0).all()
    assert "is for another kind of task" in capsys.readouterr().err


def test_a_configuration_without_architectures(tmp_path: Path) -> None:
    own, *_ = prepared(tmp_path, ["x"], task="regression")
    config = tmp_path / "ck" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": None}))
    model = trained(tmp_path, "regression")[0]
    inputs = torch.tensor([[1, 2]])
    assert torch.allclose(model.eval()(inputs).logits, own.eval()(inputs).logits, atol=1e-2)


def test_labels_that_differ_by_case_only() -> None:
    assert in_own_order(("us", "US"), ("US", "us")) == ("us", "US")
    assert in_own_order(("Us", "x"), ("US", "us")) == ("US", "us")
    assert in_own_order(None, ("a", "b")) == ("a", "b")
