"""A run that becomes longer is the run that it would have been with that length from the start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import Command
from support.runs import PRETRAIN, Material, command, training_steps, weights

from llmkit.commands import job
from llmkit.training import lengthening
from llmkit.training.checkpoints import SEAL

STEPS = ["train.lr_scheduler_type=warmup_stable_decay", "train.warmup_steps=4", "train.optim=muon"]
STEPS += [
    "corpus.mlm_probability=[0.4, 0.1]",
    "train.eval_steps=100",
    "train.logging_steps=1",
    "train.per_device_train_batch_size=4",
]


@pytest.fixture(scope="module")
def runs(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of 20 steps, one of 40, and one of 20 whose learning rate decays from its start."""
    folder = tmp_path_factory.mktemp("lengthening")
    for name, *more in (("short", "20"), ("long", "40"), ("linear", "20", "train.lr_scheduler_type=linear")):
        command(folder, *pretrain(material, *more), "-o", name)
    return folder


def pretrain(material: Material, steps: str, *more: str) -> list[str]:
    return ["pretrain", *PRETRAIN, f"corpus.path={material.shards}", *STEPS, f"train.max_steps={steps}", *more]


@pytest.fixture
def short(runs: Path, tmp_path: Path) -> Path:
    """A copy of the short run."""
    shutil.copytree(runs / "short", tmp_path / "run")
    return tmp_path / "run"


def test_it_is_the_longer_run(runs: Path, short: Path, material: Material, llmkit: Command) -> None:
    code, _, err = llmkit(*pretrain(material, "40"), "--resume", "-o", str(short))
    assert code == 0, err
    assert "becomes longer: it goes on from checkpoint-16" in err
    assert weights(short) == weights(runs / "long")
    lines = [
        [(line["step"], line["loss"], line["learning_rate"]) for line in training_steps(run)]
        for run in (short, runs / "long")
    ]
    assert lines[0] == lines[1]
    assert json.loads((short / "metrics.json").read_text()) == json.loads((runs / "long" / "metrics.json").read_text())
    code, _, err = llmkit(*pretrain(material, "40"), "--resume", "-o", str(short))
    assert code == 0, err
    assert "is finished" in err
    code, _, err = llmkit(*pretrain(material, "60"), "--resume", "-o", str(short))
    assert code == 0, err
    assert "it goes on from checkpoint-32" in err, "and longer again"


@pytest.mark.slow
@pytest.mark.parametrize("length", ["20", "40"])
def test_killed_before_it_goes_on_it_takes_either_length(
    length: str, runs: Path, short: Path, material: Material, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lengthening.shutil, "rmtree", killed)
        assert llmkit(*pretrain(material, "40"), "--resume", "-o", str(short))[0] == 130
    assert not (short / "metrics.json").exists()
    assert (short / "model").is_dir()
    assert not (short / "checkpoints" / "checkpoint-20" / SEAL).exists()
    code, _, err = llmkit(*pretrain(material, length), "--resume", "-o", str(short))
    assert code == 0, err
    assert weights(short) == weights(runs / ("short" if length == "20" else "long"))


def test_what_cannot_become_longer(
    runs: Path, short: Path, material: Material, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = pretrain(material, "40", "train.lr_scheduler_type=linear")
    code, _, err = llmkit(*linear, "--resume", "-o", str(runs / "linear"))
    assert code == 1
    assert "decayed from the start" in err
    assert f"model.pretrained={runs / 'linear'}" in err
    for steps, more, problem in (
        ("12", (), "train.max_steps was 20, is 12"),
        ("40", ("train.seed=1",), "train.seed was 42, is 1"),
    ):
        code, _, err = llmkit(*pretrain(material, steps, *more), "--resume", "-o", str(short))
        assert code == 1
        assert problem in err
    code, _, err = llmkit(*pretrain(material, "40"), "-o", str(short))
    assert code == 1
    assert "holds a finished run" in err
    with monkeypatch.context() as patch:
        patch.setattr(job, "world_size", lambda: 3)
        code, _, err = llmkit(*pretrain(material, "40"), "--resume", "-o", str(short))
    assert code == 1
    assert "3 processes cannot share the run's batch of 4 examples evenly" in err
    assert (short / "checkpoints" / "checkpoint-20" / SEAL).is_file()
    assert (short / "metrics.json").is_file(), "it does not go back before all is checked"
    (short / "checkpoints" / "checkpoint-16" / "optimizer.pt").write_bytes(b"")
    code, _, err = llmkit(*pretrain(material, "40"), "--resume", "-o", str(short))
    assert code == 1
    assert "checkpoint-16 is damaged" in err
    shutil.rmtree(short / "checkpoints" / "checkpoint-16")
    code, _, err = llmkit(*pretrain(material, "40"), "--resume", "-o", str(short))
    assert code == 1
    assert "no checkpoint from between its warm-up and its decay" in err
    assert (short / "metrics.json").is_file(), "it is as it was"
