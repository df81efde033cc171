"""What an older version left: it is read, used and gone on with as before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import DATA, Command
from support.runs import Material, training_steps

from llmkit.commands.job import Job
from llmkit.commands.pretrain import prepare
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import dump, read_recipe
from llmkit.system.run_folder import RunDir, start
from llmkit.training.held_out import HeldOut

PRETRAIN = ["pretrain", "-r", "unfinished/recipe.yaml"]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(params=["0.1"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a version left, in the folder that commands are run in."""
    shutil.copytree(DATA / f"version-{request.param}", tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_run_is_scored_as_it_was(old: Path, llmkit: Command) -> None:
    code, out, err = llmkit("eval", "squad_v2", "--json")
    assert code == 0, err
    scores, before = json.loads(out), json.loads((old / "squad_v2" / "metrics.json").read_text())
    # It was the largest null score that is answered; now it is above that, and the same questions are answered.
    assert scores["tuned"].pop("null_threshold") > before["tuned"].pop("null_threshold")
    assert scores.keys() == before.keys()
    for name, value in before.items():  # intervals are computed by sums in another order
        assert scores[name] == (pytest.approx(value, abs=1e-9) if name.endswith("_interval") else value)
    told = ("--data", "squad_v2.jsonl", "--task", "squad_v2", "--json")
    code, again, err = llmkit("eval", "--predictions", "squad_v2/predictions.jsonl", *told)
    assert code == 0, err
    assert json.loads(again)["f1"] == scores["f1"]


def test_a_run_predicts_what_it_did(old: Path, llmkit: Command) -> None:
    code, _, err = llmkit("predict", "squad_v2", "squad_v2.jsonl", "-o", "new.jsonl")
    assert code == 0, err
    for new, before in zip(lines(old / "new.jsonl"), lines(old / "squad_v2" / "predictions.jsonl"), strict=True):
        assert new.keys() == before.keys()
        for name in ("id", "text", "start", "end"):
            assert new[name] == before[name]
        assert new["null_score"] == pytest.approx(before["null_score"], abs=1e-4)


def test_a_run_can_be_published(old: Path, llmkit: Command) -> None:
    code, out, err = llmkit("push", "squad_v2", "jane/answerer", "--dry-run")
    assert code == 0, err
    assert "model.safetensors" in out
    assert 'name = "jane/answerer"' in out, "its card, which it has"
    (old / "squad_v2" / "model" / "README.md").unlink()
    code, out, err = llmkit("push", "squad_v2", "jane/answerer", "--dry-run")
    assert code == 0, err
    assert 'name = "jane/answerer"' in out, "and one that is written now"


def test_a_run_that_was_stopped_goes_on(old: Path, llmkit: Command) -> None:
    before = training_steps(old / "unfinished")
    code, _, err = llmkit(*PRETRAIN, "--resume", "-o", "unfinished")
    assert code == 0, err
    assert "resuming from" in err
    assert "step 4: " in err, "the evaluation that was due"
    resumed = training_steps(old / "unfinished")
    assert resumed[:4] == before
    assert json.loads((old / "unfinished" / "metrics.json").read_text())["steps"] == 8
    # On the same shards, the same run from its start comes to the same numbers.
    code, _, err = llmkit(*PRETRAIN, "-o", "whole")
    assert code == 0, err
    whole = training_steps(old / "whole")
    for name in ("step", "loss", "learning_rate"):
        assert [line[name] for line in resumed] == pytest.approx([line[name] for line in whole], rel=1e-4)


def test_masks_and_dropout_are_those_of_the_version_that_started_the_run(material: Material, tmp_path: Path) -> None:
    """Evaluations had the masks of training, and a checkpoint that was continued had its own attention dropout."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(material.model / "model", checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "attention_probs_dropout_prob": 0.3}))

    def recipe(seed: int) -> PretrainRecipe:
        changes = [f"corpus.path={material.shards}", "corpus.block_size=32", f"model.pretrained={checkpoint}"]
        return read_recipe(PretrainRecipe, "tiny/pretrain", [*changes, f"train.seed={seed}"])

    def masked(blocks: Any) -> list[int]:
        positions: list[int] = blocks.__getitems__([0, 1])["masked_positions"].tolist()
        return positions

    def evaluated(job: Job) -> list[int]:
        assert isinstance(job.evaluation, HeldOut)
        return masked(job.evaluation.blocks)

    new, other = prepare(recipe(7), tmp_path / "new"), prepare(recipe(8), tmp_path / "new")
    assert masked(new.data) != masked(other.data)
    assert evaluated(new) == evaluated(other), "the losses of seeds compare"
    values = yaml.safe_load(dump(recipe(7)))
    del values["corpus"]["eval_mlm_probability"]
    start(RunDir(tmp_path / "old"), yaml.safe_dump(values), {"data": new.fingerprints, "processes": 1})
    resumed = prepare(recipe(7), tmp_path / "old", resume=True)
    assert evaluated(resumed) != evaluated(new)
    assert [job.model.config.attention_probs_dropout_prob for job in (new, resumed)] == [0.0, 0.3]
    assert resumed.recipe.model == recipe(7).model
