"""Which runs can become longer, and what is said of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import dump, recipe_from
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir, start
from llmkit.training.checkpoints import SEAL, seal
from llmkit.training.resuming import check_same_recipe


def recipe(kind: str, steps: int, *, seed: int = 42, **corpus: Any) -> PretrainRecipe:
    train = {"max_steps": steps, "lr_scheduler_type": kind, "warmup_steps": 2, "seed": seed}
    corpus = {"path": "x", **corpus}
    return recipe_from(PretrainRecipe, {"name": "a", "corpus": corpus, "model": {"config": {}}, "train": train})


def started(folder: Path, begun: PretrainRecipe, **stable: bool) -> RunDir:
    """A run with checkpoints such as step_16=True."""
    run = RunDir(folder)
    start(run, dump(begun), {"data": {}, "processes": 1})
    for name, at in stable.items():
        checkpoint = run.checkpoints / name.replace("step_", "checkpoint-")
        checkpoint.mkdir(parents=True)
        seal(checkpoint, 1.0, stable=at)
    return run


@pytest.mark.parametrize("kind", ["constant", "warmup_stable_decay"])
def test_one_with_a_stable_learning_rate_can(kind: str, tmp_path: Path) -> None:
    run = started(tmp_path, recipe(kind, 20), step_16=True, step_20=False)
    assert check_same_recipe(run, recipe(kind, 40), 1) == recipe(kind, 40)


def test_another_recipe_is_told_before_why_the_run_cannot(tmp_path: Path) -> None:
    run = started(tmp_path, recipe("linear", 20), step_20=False)
    with pytest.raises(UserError, match=r"another recipe: train\.seed was 42, is 1$"):
        check_same_recipe(run, recipe("linear", 40, seed=1), 1)
    with pytest.raises(UserError, match="decayed from the start"):
        check_same_recipe(run, recipe("linear", 40), 1)


def test_masks_that_follow_the_length_of_the_run_would_have_been_others(tmp_path: Path) -> None:
    falling = {"mlm_probability": [0.3, 0.15]}
    run = started(tmp_path / "falling", recipe("constant", 20, **falling), step_20=True)
    with pytest.raises(UserError, match=r"with mlm_probability=\[0\.3, 0\.15\] it has come nearer"):
        check_same_recipe(run, recipe("constant", 40, **falling), 1)
    run = started(tmp_path / "decay", recipe("warmup_stable_decay", 20, **falling), step_16=True)
    check_same_recipe(run, recipe("warmup_stable_decay", 40, **falling), 1)
    same = {"mlm_probability": [0.3, 0.3]}
    run = started(tmp_path / "same", recipe("constant", 20, **same), step_20=True)
    check_same_recipe(run, recipe("constant", 40, **same), 1)


def test_what_the_checkpoints_lack_is_said(tmp_path: Path) -> None:
    run = started(tmp_path, recipe("constant", 20), step_1=False)
    with pytest.raises(UserError, match="no checkpoint from after its warm-up"):
        check_same_recipe(run, recipe("constant", 40), 1)
    older = run.checkpoints / "checkpoint-1" / SEAL
    older.write_text(older.read_text().replace('"stable": false,', ""))
    with pytest.raises(UserError, match="checkpoint-1 was written by a version whose runs could not"):
        check_same_recipe(run, recipe("constant", 40), 1)
    older.write_text("")
    with pytest.raises(UserError, match="checkpoint-1 is damaged"):
        check_same_recipe(run, recipe("constant", 40), 1)
