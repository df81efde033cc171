"""Layer-wise learning-rate decay: which parameter has which rate, in every family, with both optimizers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import Command
from support.families import FAMILIES, encoder_config
from support.runs import tune, weights
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
)

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.errors import UserError
from llmkit.training.layerwise import depths, rates_by_layer
from llmkit.training.optimizer import adamw, muon
from llmkit.training.trainer import Trainer

ARGUMENTS: Any = SimpleNamespace(learning_rate=0.1, weight_decay=0.01, bf16=False)
DECAY = TrainSection(max_steps=1, learning_rate=0.1, layerwise_lr_decay=0.5)
SMALL = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)


@pytest.fixture(autouse=True)
def plain_adamw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "transformers.Trainer.get_optimizer_cls_and_kwargs",
        lambda arguments: (torch.optim.AdamW, {"lr": arguments.learning_rate}),
    )


def rates(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """The rate and weight decay of each parameter, by name; each has one."""
    found = {
        parameter: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(found)
    return {name: found[parameter] for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("make", [adamw, muon])
def test_each_layer_has_half_the_rate_of_the_one_above(make: Any) -> None:
    model = AutoModelForSequenceClassification.from_config(SMALL)
    decayed = {name for name, _ in model.named_parameters() if "bias" not in name and "LayerNorm" not in name}
    found = rates(model, make(model, ARGUMENTS, decayed, 0.5))
    expected = {
        "classifier.weight": (0.1, 0.01),
        "bert.pooler.dense.bias": (0.1, 0.0),
        "bert.encoder.layer.2.output.dense.weight": (0.05, 0.01),
        "bert.encoder.layer.2.output.LayerNorm.weight": (0.05, 0.0),
        "bert.encoder.layer.0.output.dense.weight": (0.0125, 0.01),
        "bert.embeddings.word_embeddings.weight": (0.00625, 0.01),
        "bert.embeddings.LayerNorm.bias": (0.00625, 0.0),
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layers_of_every_family_are_found(family: str) -> None:
    with torch.device("meta"):
        model = AutoModelForTokenClassification.from_config(encoder_config(family))
    found = depths(model)
    layers = 3 if family == "Funnel" else model.config.num_hidden_layers  # two of its encoder, one of its decoder
    assert set(found.values()) == set(range(layers + 2))
    lowest = [name for name, depth in found.items() if depth == layers + 1]
    assert all("emb" in name or "relative_attention_bias" in name for name in lowest)
    assert any("word_embeddings" in name or "embed_tokens" in name or "tok_embeddings" in name for name in lowest)
    assert found["classifier.weight"] == 0
    assert sum(depth == 0 for depth in found.values()) < 8, "the head, and norms beside the layers"


def test_a_decoder_and_no_layers_are_refused() -> None:
    small = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 50}
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model("t5", **small))
    with pytest.raises(UserError, match="is for encoders: a T5ForConditionalGeneration has a decoder too"):
        rates_by_layer(DECAY, model)
    assert rates_by_layer(TrainSection(max_steps=1), model) == ""


def test_a_run_says_the_rates_logs_the_heads_and_resumes(folder: Path, llmkit: Command) -> None:
    keys = ["train.layerwise_lr_decay=0.5", "train.learning_rate=0.01", "train.lr_scheduler_type=constant"]
    keys += ["train.eval_steps=4", "train.logging_steps=1", "train.optim=muon", "train.max_steps=8"]
    code, _, err = llmkit(*tune(folder, *keys))
    assert code == 0, err
    assert (
        "learning rate: 0.01 for the head, 0.005 for the last of 1 layer, 0.005 for the first, 0.0025 for embeddings"
        in err
    )
    run = folder / "run"
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert max(record.get("learning_rate", 0.0) for record in records) == 0.01

    whole = run.rename(folder / "whole")
    with pytest.MonkeyPatch.context() as patch:
        step = Trainer.training_step

        def failing(self: Trainer, *arguments: Any, **options: Any) -> torch.Tensor:
            if self.state.global_step == 6:
                raise KeyboardInterrupt
            return step(self, *arguments, **options)

        patch.setattr(Trainer, "training_step", failing)
        assert llmkit(*tune(folder, *keys))[0] != 0
    code, _, err = llmkit(*tune(folder, *keys), "--resume")
    assert code == 0, err
    assert "resuming from run/checkpoints/checkpoint-4" in err
    assert weights(run) == weights(whole)
