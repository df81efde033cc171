"""LoRA: what is trained, what is left as it was, and a saved model that is plain and equal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import Command
from support.families import write_encoder
from support.labels import reviews, write_rows
from support.runs import weights
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.training.lora import add_adapters, check_lora, merge_adapters
from llmkit.training.optimizer import matrices_of_layers
from llmkit.training.trainer import Trainer

pytest.importorskip("peft")

STEPS = ["train.max_steps=4", "train.num_train_epochs=null", "train.logging_steps=1", "train.eval_steps=2"]
STEPS += ["data.max_length=16", "train.bf16=false", "train.learning_rate=1e-2", "model.lora=4"]

MATRICES = [f"attention.self.{name}" for name in ("query", "key", "value")]
MATRICES += ["attention.output.dense", "intermediate.dense", "output.dense"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    write_encoder("BERT", tmp_path / "encoder")
    write_rows(tmp_path / "rows.jsonl", reviews(24))
    return tmp_path


def tune(*more: str, task: str = "classification") -> list[str]:
    data = ["data.train=rows.jsonl", "data.validation=rows.jsonl"]
    return ["finetune", "--task", task, *data, "model.pretrained=encoder", *STEPS, *more]


@pytest.mark.parametrize("family", ["BERT", "ModernBERT", "DistilBERT", "DeBERTa v3"])
def test_merged_logits_are_the_same(family: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.named(str(write_encoder(family, tmp_path / "encoder")))
    model, _ = checkpoint.load(AutoModelForSequenceClassification)
    names = set(model.state_dict())
    plain = {name: weight.clone() for name, weight in model.state_dict().items()}
    add_adapters(model.eval(), checkpoint, 4, 1e-3)
    ids = torch.randint(5, 20, (3, 12))
    torch.manual_seed(0)
    with torch.no_grad():
        before = model(input_ids=ids).logits
        for name, weight in model.named_parameters():
            if "lora_B" in name:  # zero at the start
                weight.normal_(std=0.5)
        unmerged = model(input_ids=ids).logits
        merge_adapters(model)
        merged = model(input_ids=ids).logits
    assert (unmerged - before).abs().max() > 1e-3
    torch.testing.assert_close(merged, unmerged, atol=1e-5, rtol=0)
    assert set(model.state_dict()) == names
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, plain[name])}
    assert changed == matrices_of_layers(model, names) & changed != set()


def test_what_is_trained(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Checkpoint.named(str(here / "encoder"))
    model, _ = checkpoint.load(AutoModelForTokenClassification)
    add_adapters(model, checkpoint, 4, 2e-5)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name for name in trained if "lora" not in name} == {"classifier.weight", "classifier.bias"}
    err = capsys.readouterr().err
    count = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert f"LoRA: rank 4 beside 6 matrices of the layers; {count / 1e6:.2f} M of " in err
    assert "LoRA with train.learning_rate 2e-05 learns little" in err
    # Tokens that were added have random embeddings.
    model, _ = checkpoint.load(AutoModelForTokenClassification)
    model.resize_token_embeddings(model.config.vocab_size + 1)
    add_adapters(model, checkpoint, 4, 1e-3)
    assert model.get_input_embeddings().weight.requires_grad


def test_a_run_saves_a_plain_model_and_resumes(here: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its logits are those of the model with its adapters, and a resumed run has the same weights."""
    ids, unmerged = torch.randint(5, 20, (3, 12)), []
    best = Trainer.best

    def asked(self: Trainer) -> Any:
        with torch.no_grad():
            unmerged.append(self.network.eval()(input_ids=ids).logits)
        return best(self)

    monkeypatch.setattr(Trainer, "best", asked)
    code, _, err = llmkit(*tune(), "-o", "run")
    assert code == 0, err
    model, info = AutoModelForSequenceClassification.from_pretrained("run/model", output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(input_ids=ids).logits, unmerged[0], atol=1e-5, rtol=0)
    started, ended = load_file("encoder/model.safetensors"), load_file("run/model/model.safetensors")
    kept = {name for name, weight in started.items() if torch.equal(weight, ended[f"bert.{name}"])}
    layers = {f"encoder.layer.0.{part}.weight" for part in MATRICES}
    assert set(started) - kept == layers | {"pooler.dense.weight", "pooler.dense.bias"}
    whole = weights(here / "run")
    code, _, err = llmkit("eval", "run/checkpoints/checkpoint-4", "--task", "classification", "--data", "rows.jsonl")
    assert code == 1
    assert "run/checkpoints/checkpoint-4 is for --resume: it holds the adapters of LoRA" in err
    for part in ("model", "checkpoints/checkpoint-4"):
        shutil.rmtree(here / "run" / part)
    (here / "run" / "metrics.json").unlink()
    code, _, err = llmkit(*tune(), "-o", "run", "--resume")
    assert code == 0, err
    assert "resuming from run/checkpoints/checkpoint-2" in err
    assert weights(here / "run") == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [["train.optim=muon"], ["train.layerwise_lr_decay=0.8"], ["train.activation_checkpointing=true"]]
)
def test_beside_other_keys(more: list[str], here: Path, llmkit: Command) -> None:
    code, _, err = llmkit(*tune(*more, "train.max_steps=12", "train.eval_steps=12"), "-o", "run")
    assert code == 0, err
    lines = map(json.loads, Path("run/log.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in lines if "loss" in line]
    assert sum(losses[-3:]) < sum(losses[:3])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("regression", lambda n: {"text": f"sea {n}", "label": 100.0 * n}),
        ("multilabel", lambda n: {"text": f"sea {n}", "labels": ["a", "b"][: n % 3]}),
        ("ner", lambda n: {"tokens": ["Ines", "left"], "tags": ["B-PER", "O"]}),
        ("translation", lambda n: {"en": f"a {n}", "de": f"ein {n}"}),
    ],
)
def test_every_kind(task: str, row: Any, here: Path, llmkit: Command) -> None:
    write_rows(here / "rows.jsonl", [row(n) for n in range(8)])
    more = []
    if task == "translation":
        write_t5(here / "t5")
        more = ["model.pretrained=t5", "data.max_target_length=16", "model.vocab_size=null"]
    code, _, err = llmkit(*tune(*more, task=task), "-o", "run")
    assert code == 0, err
    # The run's predictions are of the model with its adapters, these are of the saved one.
    code, _, err = llmkit("predict", "run", "rows.jsonl", "-o", "again.jsonl")
    assert code == 0, err
    before, after = (
        [json.loads(line) for line in Path(file).read_text().splitlines()]
        for file in ("run/predictions.jsonl", "again.jsonl")
    )
    for one, other in zip(before, after, strict=True):
        assert numbers_of(task, one) == pytest.approx(numbers_of(task, other), abs=1e-4, rel=1e-5)


def numbers_of(task: str, row: dict[str, Any]) -> list[float]:
    """What a prediction was made of: logits by label, probabilities of tags, or a confidence."""
    match task:
        case "regression":
            return [float(row["text"])]
        case "ner":
            return [probability for word in row["tags"] for _, probability in sorted(word.items())]
        case "multilabel":
            return [candidate["score"] for candidate in sorted(row["candidates"], key=lambda each: each["text"])]
    return [row["score"]]


def write_t5(folder: Path) -> None:
    """A T5 of two layers of 32, with the vocabulary of the encoder."""
    tokens = Checkpoint.named("encoder").tokenizer()
    shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "vocab_size": len(tokens)}
    ids = {"pad_token_id": tokens.pad_token_id, "eos_token_id": tokens.sep_token_id, "decoder_start_token_id": 0}
    T5ForConditionalGeneration(T5Config(**shape, **ids)).save_pretrained(folder)
    tokens.save_pretrained(folder)


def test_an_encoder_makes_no_decoder_with_adapters(here: Path, llmkit: Command) -> None:
    write_rows(here / "rows.jsonl", [{"en": "a", "de": "ein"}] * 4)
    keys = ["data.max_target_length=16", "model.vocab_size=null", "model.decoder_vocab_size=null"]
    code, _, err = llmkit(*tune(*keys, task="translation"), "-o", "run")
    assert code == 1
    assert "encoder is an encoder, so parts of the decoder's layers start from random weights" in err


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model.lora=0"], "greater than 0"),
        (["model.lora=4", "model={config: {}, lora: 4, tokenizer: x}"], "lora needs pretrained"),
    ],
)
def test_what_a_recipe_may_say(overrides: list[str], told: str) -> None:
    files = ["data.train=a", "data.validation=a"]
    with pytest.raises(UserError) as caught:
        read_recipe(FinetuneRecipe, TASKS["classification"].recipe, [*files, *overrides], tasks=TASKS)
    assert told in " ".join(caught.value.problems)


def test_a_sharded_model_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(UserError, match=r"model\.lora does not work with FSDP"):
        check_lora()
