"""`llmkit verify`: yes where a run is what it says, no where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import Command

from llmkit.commands import verify
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.tasks import TASKS

TINY = ["-r", "tiny/pretrain", "corpus.block_size=32", "train.per_device_train_batch_size=4"]


@pytest.mark.parametrize("what", [pytest.param("determinism", marks=pytest.mark.slow), "resume"])
def test_a_run_is_what_it_says(what: str, llmkit: Command, tmp_path: Path) -> None:
    code, out, err = llmkit("verify", what, *TINY)
    assert (code, out.startswith("yes: ")) == (0, True), err
    assert out.endswith("have the same weights and optimizer state at step 6, bit for bit\n")
    assert err.count(" same\n") == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_difference_is_seen(llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    to = verify._Trial.to

    def disturbed(self: verify._Trial, step: int, *, resume: bool = False) -> None:
        if resume:  # other masks from here on
            text = self._recipe.read_text().replace("seed: 42", "seed: 43")
            for file in (self._recipe, self._run / "recipe.yaml"):
                file.write_text(text)
        to(self, step, resume=resume)

    monkeypatch.setattr(verify._Trial, "to", disturbed)
    code, out, err = llmkit("verify", "resume", *TINY)
    assert code == 1
    assert out.startswith("NO: ")
    assert "model.safetensors" in out
    assert "differs" in err


def test_packing(llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = llmkit("verify", "packing", *TINY)
    assert (code, out.startswith("yes: ")) == (0, True), err

    def blind(config: Any, input_ids: torch.Tensor, cu_seq_lens: torch.Tensor) -> dict[str, Any]:
        return {"attention_mask": None}

    monkeypatch.setattr("llmkit.models.packed_attention.isolation", blind)
    code, out, _ = llmkit("verify", "packing", *TINY)
    assert (code, out.startswith("NO: ")) == (1, True)


def test_what_cannot_be_verified(llmkit: Command) -> None:
    code, _, err = llmkit("verify", "packing", "-r", "tiny/squad")
    assert code == 1
    assert "only pretraining packs documents" in err
    code, _, err = llmkit("verify", "resume", *TINY, "train.learning_rate=0.5", "corpus.sources=[none.txt]")
    assert code == 1
    assert "the run ended before step 6: error: no such corpus: none.txt" in err


@pytest.mark.parametrize("length", ["train.max_steps=3", "train.num_train_epochs=2", "train.time_budget=1h"])
def test_a_trial_is_a_recipe_of_its_own(length: str, tmp_path: Path) -> None:
    recipe = read_recipe(PretrainRecipe, "tiny/pretrain", [length])
    verify._Trial(recipe, tmp_path / "a", None)
    trial = read_recipe(PretrainRecipe, str(tmp_path / "a" / "recipe.yaml"))
    assert (trial.train.max_steps, trial.train.save_steps, trial.train.time_budget) == (7, 3.0, None)
    assert trial.corpus == recipe.corpus
    tuning = read_recipe(FinetuneRecipe, "tiny/squad", [length], tasks=TASKS)
    verify._Trial(tuning, tmp_path / "b", None)
    assert read_recipe(FinetuneRecipe, str(tmp_path / "b" / "recipe.yaml"), tasks=TASKS).data == tuning.data
