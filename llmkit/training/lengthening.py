"""A run becomes longer: it goes back to where its learning rate had not decayed, and trains on from there.

What a run with a constant learning rate did until then is what a longer run does too. With warmup_stable_decay, masks
change during the decay alone; where they change over the whole run, it is refused. The checkpoints of the decay are
removed, and the last one before them is resumed, with the new length.
"""

from __future__ import annotations

import shutil
from contextlib import suppress

from pydantic import ValidationError

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe, TrainSection
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir
from llmkit.training.checkpoints import SEAL, damage, is_stable, last_stable, sealed
from llmkit.training.schedule import STABLE

LENGTHS = ("num_train_epochs", "max_steps", "time_budget")


def longer(run: RunDir, recipe: PretrainRecipe | FinetuneRecipe) -> bool:
    """Whether a recipe trains longer than the run was to, in the same unit. What else may differ is not compared."""
    with suppress(ValidationError):  # a recipe that is no longer valid is compared as it is
        return is_longer(type(recipe).model_validate(run.recipe()).train, recipe.train)
    return False


def is_longer(before: TrainSection, now: TrainSection) -> bool:
    """Whether a recipe's length is greater than another's, in the same unit."""
    lengths = [(getattr(before, name), getattr(now, name)) for name in LENGTHS]
    return any(old is not None and new is not None and new > old for old, new in lengths)


def with_length_of(train: TrainSection, other: TrainSection) -> TrainSection:
    """`train` with the length of another."""
    return train.model_copy(update={name: getattr(other, name) for name in LENGTHS})


def check_can_lengthen(run: RunDir, recipe: PretrainRecipe | FinetuneRecipe) -> None:
    """Raises UserError if a run that was started with this recipe cannot become longer."""
    if why := _obstacle(run, recipe):
        raise UserError(
            f"{run.path} cannot become longer: {why}",
            remedy=f"resume it with its own length, or start a new run from its model: model.pretrained={run.path}, "
            "with -o for another folder",
        )


def _obstacle(run: RunDir, recipe: PretrainRecipe | FinetuneRecipe) -> str:
    """Why a run cannot become longer; empty if it can."""
    kind = recipe.train.lr_scheduler_type
    if kind not in STABLE:
        decayed = "its learning rate decayed from the start; one with warmup_stable_decay could"
        return f"with lr_scheduler_type={kind} {decayed}"
    if kind == "constant" and isinstance(recipe, PretrainRecipe) and len(set(recipe.corpus.probabilities)) > 1:
        return (
            f"with mlm_probability={recipe.corpus.mlm_probability} it has come nearer to the second fraction than a "
            "longer run would have; one with a single fraction, or with warmup_stable_decay, could"
        )
    if stable := last_stable(run.checkpoints):
        found = damage(stable)
        return f"{stable} is damaged: {found}" if found else ""
    for checkpoint in sealed(run.checkpoints)[::-1]:
        if is_stable(checkpoint) is None:
            if found := damage(checkpoint):
                return f"{checkpoint} is damaged: {found}"
            return f"{checkpoint} was written by a version whose runs could not"
    if kind == "constant":
        return "it has no checkpoint from after its warm-up"
    return "it has no checkpoint from between its warm-up and its decay"


def go_back(run: RunDir, recipe: PretrainRecipe | FinetuneRecipe) -> None:
    """Prepare a run to be resumed with a longer recipe, if this is one.

    Call it when all else is checked, on one process, before any looks for checkpoints. The run is not finished any
    more, but its model stays until the next one is written. Killed in between, it can be resumed with either length.
    """
    if not longer(run, recipe):
        return
    stable = last_stable(run.checkpoints)
    assert stable is not None
    (run.path / "metrics.json").unlink(missing_ok=True)
    for checkpoint in sealed(run.checkpoints)[::-1]:
        if checkpoint == stable:
            break
        (checkpoint / SEAL).unlink()
        shutil.rmtree(checkpoint)
    say(f"{run.path} becomes longer: it goes on from {stable.name}, before its learning rate decayed")
