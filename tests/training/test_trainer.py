"""What the trainer adds: a stop at numbers that are none, naming what they came from."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import Command
from support.runs import SHAPE, tune
from transformers import AutoTokenizer
from transformers.trainer_callback import TrainerControl

from llmkit.corpus.demo.data import questions
from llmkit.recipes.pretraining import TrainSection
from llmkit.training.schedule import Schedule
from llmkit.training.trainer import Trainer

pytestmark = pytest.mark.oldest


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_loss_that_is_no_number_stops_the_run(
    accumulated: int, folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    step = Trainer.training_step

    def poisoned(self: Trainer, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        nonlocal seen
        loss = step(self, model, inputs, num_items_in_batch)
        seen += 1
        # The third step; the next report is due after the fourth.
        return loss * float("nan") if seen == 3 * accumulated else loss

    monkeypatch.setattr(Trainer, "training_step", poisoned)
    sizes = ["train.per_device_train_batch_size=4", f"train.gradient_accumulation_steps={accumulated}"]
    code, _, err = llmkit(*tune(folder, *sizes, "train.logging_steps=4", "train.eval_steps=12"))
    assert code == 1
    assert "is not finite, first at step 3" in err
    assert "that step's examples: " in err
    named = err.partition("that step's examples: ")[2].splitlines()[0].split(", ")
    assert len(named) == 4 * accumulated
    known = {json.loads(line)["id"] for line in (folder / "train.jsonl").read_text().splitlines()}
    assert set(named) <= known
    assert not (folder / "run" / "metrics.json").exists()
    assert not list((folder / "run").glob("checkpoints/checkpoint-*")), "nothing of it was saved"


def test_the_examples_of_a_step_are_those_it_is_made_on(
    folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: dict[int, list[int]] = {}
    told: dict[int, list[str]] = {}
    step = Trainer.training_step

    def watched(self: Trainer, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        lengths.setdefault(self.state.global_step + 1, []).extend(inputs["attention_mask"].sum(1).tolist())
        if self.state.global_step + 1 == 11 and not told:
            epoch = self.batches.epoch
            told.update({number: self.names_of(number) for number in range(1, 12)})
            self.batches.epoch = epoch
        return step(self, model, inputs, num_items_in_batch)

    monkeypatch.setattr(Trainer, "training_step", watched)
    # 64 examples, 24 a step: an epoch has three steps, and eleven are into the fourth. A window holds a passage.
    sizes = ["train.per_device_train_batch_size=12", "train.gradient_accumulation_steps=2", "data.max_length=192"]
    code, _, err = llmkit(*tune(folder, *sizes))
    assert code == 0, err
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    rows = {row["id"]: row for row in map(json.loads, (folder / "train.jsonl").read_text().splitlines())}
    for number, names in told.items():
        expected = [len(tokenizer(rows[name]["question"], rows[name]["context"])["input_ids"]) for name in names]
        assert expected == lengths[number], f"step {number}"


def test_every_example_of_a_step_weighs_the_same(
    folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one piece or in two, with padding or without; also at the end of an epoch, where a step has 16 of 40."""
    rows = questions("train")[:40]
    (folder / "some.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shape = f"model.config={SHAPE[:-1]}, hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}}"
    steps = ["data.train=some.jsonl", shape, "data.max_length=192", "train.max_steps=4", "train.logging_steps=1"]
    logged, scores = {}, {}
    for name, size, accumulated in (("whole", 24, 1), ("pieces", 12, 2), ("unpadded", 12, 2)):
        if name == "unpadded":  # on a GPU; here a mask stands in for its kernel
            monkeypatch.setattr("llmkit.models.unpadded.kernel_holds", lambda *_, **__: True)
        cut = [f"train.per_device_train_batch_size={size}", f"train.gradient_accumulation_steps={accumulated}"]
        code, _, err = llmkit(*tune(folder, *steps, *cut, "train.bf16=false"), "-o", name)
        assert code == 0, err
        lines = map(json.loads, (folder / name / "log.jsonl").read_text().splitlines())
        logged[name] = [(line["loss"], line["grad_norm"], line["real_token_share"]) for line in lines if "loss" in line]
        scores[name] = json.loads((folder / name / "metrics.json").read_text())
    assert len(logged["whole"]) == 4
    for name in ("pieces", "unpadded"):
        for mine, whole in zip(logged[name], logged["whole"], strict=True):
            assert mine[:2] == pytest.approx(whole[:2], rel=1e-4)
        assert scores[name] == scores["whole"]
    assert all(share < 1 for *_, share in logged["pieces"])
    assert all(share == 1 for *_, share in logged["unpadded"]), "nothing is filled up but for a GPU"


def test_a_loss_that_jumps_is_said(folder: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer.training_step

    def jumping(self: Trainer, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        loss = step(self, model, inputs, num_items_in_batch)
        return loss * 3 if self.state.global_step + 1 == 11 else loss

    monkeypatch.setattr(Trainer, "training_step", jumping)
    code, _, err = llmkit(*tune(folder, "train.logging_steps=1", "train.eval_steps=12"))
    assert code == 0, err
    assert err.count("the loss rose to ") == 1
    assert "at step 11" in err


def test_a_warm_up_that_does_not_end_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for steps, told in ((100, True), (101, False)):
        schedule = Schedule(TrainSection(max_steps=steps, warmup_steps=100.0))
        state: Any = SimpleNamespace(global_step=0, max_steps=steps)
        schedule.on_train_begin(None, state, TrainerControl())
        assert ("never reaches" in capsys.readouterr().err) is told
