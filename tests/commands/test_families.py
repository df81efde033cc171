"""Every family of encoders: pretrained further, and fine-tuned with every head, used, exported, and read by
transformers alone.

What is true of each is written in docs/families.json, from which docs/models.md is made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import DOCS, Command, quick_or_slow
from support.families import FAMILIES, write_encoder
from transformers import AutoModelForMaskedLM, AutoTokenizer

from llmkit.tasks.examples import load_examples
from llmkit.tasks.inference import outputs_of
from llmkit.tasks.settings import settings_of

HEADS = {
    "questions": ["--task", "squad", "data.doc_stride=8"],
    "labels": ["--task", "classification"],
    "pairs": ["--task", "classification", "data.pair_column=other"],
    "tags": ["--task", "ner"],
}
STEPS = ["train.max_steps=2", "train.num_train_epochs=null", "train.eval_steps=2", "data.max_length=32"]
STATED: dict[str, dict[str, str]] = json.loads((DOCS / "families.json").read_text(encoding="utf-8"))
WORDS = ["Ines", "Carrow", "built", "the", "old", "lamp", "of", "Velmora", "in", "1874", "and", "left"]


def rows(head: str) -> list[dict[str, Any]]:
    """Texts of several lengths, some of them longer than the model's inputs."""
    found: list[dict[str, Any]] = []
    for number in range(8):
        words = WORDS * (1 + number % 3 * 2) if number % 4 else WORDS[:3]
        text = " ".join(words)
        match head:
            case "questions":
                answers = {"text": ["Ines Carrow"], "answer_start": [0]}
                found.append({"id": str(number), "question": "Who built it?", "context": text, "answers": answers})
            case "tags":
                found.append({"tokens": words, "tags": ["B-PER", "I-PER", *["O"] * (len(words) - 2)]})
            case _:
                found.append({"text": text, "other": "Who left?", "label": "no" if number % 2 else "yes"})
    return found


def check(family: str, head: str, tmp_path: Path, llmkit: Command, *, export: bool) -> None:
    stated, file = STATED[family], tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(head)))
    write_encoder(family, tmp_path / "encoder")
    data = ["data.train=rows.jsonl", "data.validation=rows.jsonl"]
    code, _, err = llmkit("finetune", *HEADS[head], "model.pretrained=encoder", *data, *STEPS, "-o", "run")
    if stated[head] != "yes":
        assert code == 1
        assert stated[head] in err
        assert not (tmp_path / "run").exists()
        return
    assert code == 0, err
    code, _, err = llmkit("predict", "run", "rows.jsonl", "-o", "predictions.jsonl")
    assert code == 0, err
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 8
    assert_same_in_transformers(head)
    if export:
        code, _, err = llmkit("export", "run", "-o", "exported")
        assert code == (0 if stated["export"] == "yes" else 1), err
        assert ("torch cannot export a" in err) == (stated["export"] != "yes")
        assert (tmp_path / "exported").exists() == (stated["export"] == "yes")


def assert_same_in_transformers(head: str) -> None:
    """What transformers alone makes of the saved model and tokenizer is what llmkit makes of them."""
    settings = settings_of("run", None, None)
    task = settings.task
    model, codec = task.load_trained(settings.checkpoint, settings.data)
    examples = load_examples(task, settings.data, ["validation"])["validation"].select([0])  # no longer than an input
    features = task.encode(examples, codec, settings.data, training=False)
    outputs = outputs_of(model, task.head, features, codec, 1, bf16=False, advance=lambda *_: None)
    assert outputs is not None
    plain, tokenizer = task.head.auto.from_pretrained("run/model").eval(), AutoTokenizer.from_pretrained("run/model")
    (row,) = rows(head)[:1]
    match head:
        case "questions":
            inputs = tokenizer(row["question"], row["context"], return_tensors="pt")
        case "tags":  # transformers reads words without the space before them
            inputs = tokenizer("A text.", return_tensors="pt")
            plain(**inputs)
            inputs = {"input_ids": torch.tensor(features["input_ids"][:])}
        case "labels":
            inputs = tokenizer(row["text"], return_tensors="pt")
        case _:
            inputs = tokenizer(row["text"], row["other"], return_tensors="pt")
    assert inputs["input_ids"].tolist() == features["input_ids"][:]
    with torch.inference_mode():
        found = plain(**inputs)
    for name, expected in outputs[0].items():
        np.testing.assert_allclose(found[name][0].numpy(), expected, atol=1e-5)


def pretrain(family: str, tmp_path: Path, llmkit: Command) -> None:
    """Continue an encoder on text that its own tokenizer reads, and verify that its documents are kept apart."""
    write_encoder(family, tmp_path / "encoder")
    text = "".join(f"{row['text']}\n\n" for row in rows("labels") * 12)
    (tmp_path / "text.txt").write_text(text)
    corpus = "{sources: [{path: text.txt, documents: blank_line}], tokenizer: {path: encoder}, block_size: 48}"
    recipe = ["-r", "tiny/pretrain", "model={pretrained: encoder}", f"corpus={corpus}", "train.max_steps=2"]
    code, _, err = llmkit("pretrain", *recipe, "-o", "run")
    if (stated := STATED[family]["pretraining"]) != "yes":
        assert code == 1
        assert stated.removeprefix("documents would ") in err
        assert not (tmp_path / "run").exists()
        return
    assert code == 0, err
    assert "encoder has no masked-LM head: " in err
    code, out, err = llmkit("verify", "packing", *recipe)
    assert (code, out.startswith("yes: ")) == (0, True), err
    model, info = AutoModelForMaskedLM.from_pretrained("run/model", output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    again = AutoTokenizer.from_pretrained("run/model")
    assert again.get_vocab() == AutoTokenizer.from_pretrained("encoder").get_vocab()
    predicted = model.eval()(**again(f"Ines {again.mask_token} the lamp", return_tensors="pt")).logits
    assert predicted.shape[-1] == model.config.vocab_size


QUICK = [("RoBERTa", "questions"), ("DistilBERT", "pairs"), ("EuroBERT", "questions")]


@pytest.mark.parametrize(("family", "head"), QUICK)
def test_some_families(family: str, head: str, tmp_path: Path, llmkit: Command) -> None:
    check(family, head, tmp_path, llmkit, export=False)


@pytest.mark.parametrize("family", quick_or_slow(FAMILIES, {"RoBERTa", "ModernBERT"}))
def test_pretraining_goes_on(family: str, tmp_path: Path, llmkit: Command) -> None:
    pretrain(family, tmp_path, llmkit)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str, head: str, tmp_path: Path, llmkit: Command) -> None:
    check(family, head, tmp_path, llmkit, export=True)


def test_the_page_has_every_family_and_head() -> None:
    assert list(STATED) == list(FAMILIES)
    assert all(list(heads) == ["pretraining", *HEADS, "export"] for heads in STATED.values())
