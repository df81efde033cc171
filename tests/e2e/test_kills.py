"""Killed again and again, at random and in the middle of writing a checkpoint: the same weights in the end."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from support.families import encoder_config
from support.runs import PRETRAIN, SHAPE, Material, run_command, weights
from transformers import AutoModelForMaskedLM, AutoTokenizer

from llmkit.training.checkpoints import SEAL, newest

pytestmark = pytest.mark.slow

# Long enough that no run comes to its end between its kills.
STEPS = ["train.max_steps=450", "train.save_steps=3", "train.eval_steps=150", "train.logging_steps=1"]
RANDOM_KILLS = 16  # of each kind of run, of which there are six
WRITING_KILLS = 10  # of each kind of run in one process


@dataclass(frozen=True)
class Base:
    """Commands to kill, and a folder for what they leave."""

    folder: Path
    material: Material

    def command(self, name: str, processes: int) -> list[str]:
        """A command without its output."""
        small = ["train.per_device_train_batch_size=4", "train.gradient_accumulation_steps=2", "-n", str(processes)]
        if name == "pretrain":
            new = ["corpus.mlm_probability=[0.3, 0.15]", "corpus.masking=spans", "train.optim=muon"]
            return ["pretrain", *PRETRAIN, f"corpus.path={self.material.shards}", *new, *STEPS, *small]
        if name == "continue":
            model = [f"model={{pretrained: {self.folder / 'encoder'}}}", "corpus.block_size=32"]
            return ["pretrain", "-r", "tiny/pretrain", *model, f"corpus.path={self.material.shards}", *STEPS, *small]
        model = [f"model.config={SHAPE}", f"model.tokenizer={self.material.shards / 'tokenizer'}"]
        return ["finetune", "-r", "tiny/squad", *model, *self.material.questions, *STEPS, *small]


@pytest.fixture(scope="module")
def base(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Base:
    base = Base(tmp_path_factory.mktemp("killed"), material)
    size = len(AutoTokenizer.from_pretrained(material.shards / "tokenizer"))
    config = encoder_config("ModernBERT", vocab_size=size, mlp_dropout=0.1)
    AutoModelForMaskedLM.from_config(config).save_pretrained(base.folder / "encoder")
    return base


@pytest.fixture(scope="module")
def undisturbed(base: Base) -> Callable[[str, int], Path]:
    """The run that nothing happens to, made once."""

    def run(name: str, processes: int) -> Path:
        path: Path = base.folder / f"whole-{name}-{processes}"
        if not path.is_dir():
            run_command(*base.command(name, processes), "-o", str(path), cwd=base.folder)
        return path

    return run


def kill(arguments: list[str], folder: Path, moment: Callable[[], bool]) -> None:
    """Start a command, and kill it with all its processes when `moment` has come."""
    process = psutil.Popen(
        [sys.executable, "-m", "llmkit", *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 300
    while not moment():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    family = [*process.children(recursive=True), process]
    for member in family:
        member.kill()
    psutil.wait_procs(family)
    process.stderr.close()


def changed(run: Path) -> int:
    """When the run's log was last written."""
    path = run / "log.jsonl"
    return path.stat().st_mtime_ns if path.is_file() else 0


def steps_of(run: Path) -> Iterator[int]:
    return (json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines())


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", ["pretrain", "continue", "finetune"])
def test_at_random(name: str, processes: int, base: Base, undisturbed: Callable[[str, int], Path]) -> None:
    run = base.folder / f"killed-{name}-{processes}"
    arguments = [*base.command(name, processes), "-o", str(run)]
    chance = random.Random(processes)
    for _ in range(RANDOM_KILLS):
        resume = ["--resume"] * (run / "recipe.yaml").is_file()
        before, pause = changed(run), chance.random() * 0.8

        def moment(before: int = before, pause: float = pause) -> bool:
            if changed(run) == before:
                return False
            time.sleep(pause)  # from the first line of its log on, anywhere
            return True

        kill([*arguments, *resume], base.folder, moment)
        newest(run / "checkpoints")  # raises where none of them is what was written
    run_command(*arguments, "--resume", cwd=base.folder)
    assert weights(run) == weights(undisturbed(name, processes))
    assert list(steps_of(run)) == list(steps_of(undisturbed(name, processes)))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_stops_early_stops_at_the_same_step(processes: int, base: Base) -> None:
    """It learns next to nothing, so its first evaluation stays the best: it stops 30 evaluations later."""
    stuck = ["train.learning_rate=1e-12", "train.eval_steps=4", "train.early_stopping_patience=30"]
    arguments = [*base.command("finetune", processes), *stuck]
    whole, run = (base.folder / f"{name}-early-{processes}" for name in ("whole", "killed"))
    run_command(*arguments, "-o", str(whole), cwd=base.folder)
    assert json.loads((whole / "metrics.json").read_text())["stopped_early_at"] == 124
    arguments += ["-o", str(run)]
    for place in (0, 40, 80, 116):

        def moment(place: int = place) -> bool:
            return changed(run) > 0 and max(steps_of(run), default=0) > place

        kill([*arguments, *["--resume"] * (run / "recipe.yaml").is_file()], base.folder, moment)
    run_command(*arguments, "--resume", cwd=base.folder)
    assert weights(run) == weights(whole)
    assert list(steps_of(run)) == list(steps_of(whole))


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_while_a_checkpoint_is_written(name: str, base: Base, undisturbed: Callable[[str, int], Path]) -> None:
    run = base.folder / f"writing-{name}"
    arguments = [*base.command(name, 1), "-o", str(run)]
    chance = random.Random(0)
    for number in range(WRITING_KILLS):
        resume = ["--resume"] * (run / "recipe.yaml").is_file()
        old = set(run.glob("checkpoints/*"))
        pause = chance.random() * 0.02
        # Let every second run come further, past a whole checkpoint, so that the whole comes to an end.
        behind = 1 + number % 2

        def moment(old: set[Path] = old, pause: float = pause, behind: int = behind) -> bool:
            new = [path for path in run.glob("checkpoints/*") if path not in old]
            if len(new) < behind or all((path / SEAL).is_file() for path in new):
                return False
            time.sleep(pause)
            return True

        kill([*arguments, *resume], base.folder, moment)
        newest(run / "checkpoints")
    run_command(*arguments, "--resume", cwd=base.folder)
    assert weights(run) == weights(undisturbed(name, 1))
