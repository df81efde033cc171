"""`llmkit verify`: yes where a run is what it says, no where it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support import Command

from llmkit.commands import verify
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.tasks import TASKS
from llmkit.training.checkpoints import SEAL

STAND_IN = """#!{python}
import json, sys, time
from pathlib import Path

run, resumed = Path(sys.argv[sys.argv.index("-o") + 1]), "--resume" in sys.argv
{before}
for step in (3, 6):
    checkpoint = run / "checkpoints" / f"checkpoint-{{step}}"
    if not checkpoint.is_dir():
        checkpoint.mkdir(parents=True)
        files = {{name: f"{{name}} of {{step}}" for name in ("model.safetensors", "optimizer.pt", "scheduler.pt")}}
        {change}
        (checkpoint / "seal").write_text(json.dumps({{"files": files}}))
        (checkpoint / "seal").rename(checkpoint / "{seal}")
time.sleep(60)
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A recipe of seconds, on documents of which a block holds several."""
    text = tmp_path_factory.mktemp("text") / "ships.txt"
    text.write_text("\n\n".join(f"The ship {n} sails to town {n}, and it rains." for n in range(900)))
    corpus = [f"corpus.sources=[{{path: {text}, documents: blank_line}}]", "corpus.tokenizer.vocab_size=100"]
    return ["-r", "tiny/pretrain", *corpus, "corpus.block_size=32", "train.per_device_train_batch_size=4"]


Run = Callable[..., None]


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(before=…, change=…)`: runs are those of a program that writes seals of checkpoints, as they tell it."""

    def set_run(before: str = "", change: str = "") -> None:
        program = tmp_path_factory.mktemp("bin") / "python"
        program.write_text(STAND_IN.format(python=sys.executable, before=before, change=change, seal=SEAL))
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return set_run


@pytest.mark.parametrize(("what", "runs"), [("determinism", 2), ("resume", 3)])
def test_equal_checkpoints(what: str, runs: int, run: Run, tiny: list[str], llmkit: Command, tmp_path: Path) -> None:
    run()
    code, out, err = llmkit("verify", what, *tiny)
    assert (code, out.startswith("yes: ")) == (0, True), err
    assert err.count(f" of {runs}  ") == runs
    assert err.count(" same\n") == 3
    assert list(tmp_path.iterdir()) == []


def test_another_checkpoint_after_a_resume(run: Run, tiny: list[str], llmkit: Command) -> None:
    run(change='files["optimizer.pt"] += " resumed" * resumed')
    code, out, err = llmkit("verify", "resume", *tiny)
    assert (code, out.startswith("NO: ")) == (1, True), err
    assert out.endswith("have different weights and optimizer state at step 6 (optimizer.pt)\n")
    assert err.count(" same\n") == 2
    assert err.count(" differs\n") == 1


@pytest.mark.parametrize(("gpu", "deterministic"), [(True, "false"), (True, "true"), (False, "false")])
def test_a_gpu_needs_deterministic_kernels(
    gpu: bool, deterministic: str, run: Run, tiny: list[str], llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(change='files["optimizer.pt"] += " resumed" * resumed')
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    code, _, err = llmkit("verify", "resume", *tiny, f"train.deterministic={deterministic}")
    assert code == 1
    assert ("verify it with train.deterministic=true" in err) is (gpu and deterministic == "false")


def test_a_run_that_ends_too_soon(run: Run, tiny: list[str], llmkit: Command) -> None:
    run(before='sys.exit("error: no such corpus: none.txt")')
    code, _, err = llmkit("verify", "resume", *tiny)
    assert code == 1
    assert "the run ended before step 6: error: no such corpus: none.txt" in err
    assert "Check that the recipe runs: llmkit pretrain" in err


@pytest.mark.slow
@pytest.mark.parametrize("what", ["determinism", "resume"])
def test_a_run_is_what_it_says(what: str, tiny: list[str], llmkit: Command, tmp_path: Path) -> None:
    code, out, err = llmkit("verify", what, *tiny, "train.dataloader_num_workers=2")
    assert (code, out.startswith("yes: ")) == (0, True), err
    assert out.endswith("have the same weights and optimizer state at step 6, bit for bit\n")
    assert err.count(" same\n") == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_difference_is_seen(tiny: list[str], llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    to = verify._Trial.to

    def disturbed(self: verify._Trial, step: int, *, resume: bool = False) -> None:
        if resume:  # other masks from here on
            text = self._recipe.read_text().replace("seed: 42", "seed: 43")
            for file in (self._recipe, self._run / "recipe.yaml"):
                file.write_text(text)
        to(self, step, resume=resume)

    monkeypatch.setattr(verify._Trial, "to", disturbed)
    code, out, err = llmkit("verify", "resume", *tiny)
    assert code == 1
    assert out.startswith("NO: ")
    assert "model.safetensors" in out
    assert "differs" in err


def test_packing(tiny: list[str], llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = llmkit("verify", "packing", *tiny)
    assert (code, out.startswith("yes: ")) == (0, True), err

    def blind(batch: int, length: int, cu_seq_lens: torch.Tensor) -> torch.Tensor:
        return torch.ones(batch, 1, length, length, dtype=torch.bool)

    monkeypatch.setattr("llmkit.models.packing.block_diagonal", blind)
    code, _, err = llmkit("verify", "packing", *tiny)
    assert code == 1
    assert "documents of a bert model see each other" in err, "the run would not start"
    monkeypatch.setattr("llmkit.models.masked_lm.settle_packing", lambda *_: None)
    code, out, _ = llmkit("verify", "packing", *tiny)
    assert (code, out.startswith("NO: ")) == (1, True)


def test_what_cannot_be_verified(llmkit: Command) -> None:
    code, _, err = llmkit("verify", "packing", "-r", "tiny/squad")
    assert code == 1
    assert "only pretraining packs documents" in err


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
