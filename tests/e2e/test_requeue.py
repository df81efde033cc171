"""Jobs that are taken away and come back: one command line, started again until it ends."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle, repeat
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file
from support import Command
from support.requeue import EVALUATIONS, PATIENCE, REST, STEPS, WAYS, Queue, requeue
from support.runs import PRETRAIN, SHAPE, Material, weights

from llmkit.system.run_folder import RunDir
from llmkit.training.checkpoints import newest

KILLS = 20
NO_DROPOUT = f"model.config={SHAPE[:-1]}, hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}}"
RUN = ["train.save_steps=3", f"train.eval_steps={EVALUATIONS}", "train.logging_steps=1", "train.bf16=false"]
# Keys' biases change no attention: their gradients are rounding alone, which Adam would blow up with a smaller epsilon.
RUN += ["train.adam_epsilon=1e-6", "train.per_device_eval_batch_size=2"]
# On three processes, the last step of an epoch has four examples for six micro-batches.
SIZES = ["train.per_device_train_batch_size=1", "train.gradient_accumulation_steps=2"]
TOLERANCE = 1e-5  # of a weight: float32 sums in another order


def arguments(name: str, material: Material, folder: Path, shape: str, steps: int) -> list[str]:
    """A command without its output."""
    shared = [shape, *RUN, *SIZES, f"train.max_steps={steps}"]
    if name == "pretrain":
        return ["pretrain", *PRETRAIN, f"corpus.path={material.shards}", *shared]
    shared.append(f"model.tokenizer={material.shards / 'tokenizer'}")
    if name == "finetune":
        return ["finetune", "-r", "tiny/squad", *material.questions, *shared]
    # Which word a question begins with. A loss that knows nothing of the padding, which depends on the micro-batch.
    data = []
    for override in material.questions:
        split, _, path = override.partition("=")
        file = folder / f"{split}.jsonl"
        questions = [json.loads(line)["question"] for line in Path(path).read_text().splitlines()]
        file.write_text("".join(json.dumps({"text": text, "label": text.split()[0]}) + "\n" for text in questions))
        data.append(f"{split}={file}")
    return ["finetune", "-r", "tiny/classification", *data, *shared]


def content(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path, random.Random(0))


@pytest.fixture
def undisturbed(queue: Queue) -> Callable[[list[str], int], Path]:
    """The run that nothing happens to."""

    def run(command: list[str], processes: int) -> Path:
        path = queue.folder / f"whole-{processes}"
        assert set(queue.end(queue.start([*command, "-o", str(path)], processes))) == {0}, queue.messages()
        return path

    return run


def largest_difference(run: Path, other: Path) -> float:
    mine, its = (load_file(path / "model" / "model.safetensors") for path in (run, other))
    return max(float(np.abs(mine[name] - its[name]).max()) for name in mine)


@pytest.mark.parametrize(
    ("name", "processes", "kills", "seed"),
    [
        ("pretrain", 1, 3, 50),  # while it evaluates, saves and starts, in three ways
        *(
            pytest.param(name, count, KILLS, 0, marks=pytest.mark.slow)
            for name in ("pretrain", "finetune")
            for count in (1, 2, 3)
        ),
    ],
)
def test_it_ends_with_the_same_weights(
    name: str,
    processes: int,
    kills: int,
    seed: int,
    material: Material,
    queue: Queue,
    undisturbed: Callable[[list[str], int], Path],
) -> None:
    command = arguments(name, material, queue.folder, f"model.config={SHAPE}", STEPS * kills + REST)
    run = queue.folder / "run"
    queue.chance.seed(seed)
    requeue(queue, command, run, repeat(processes), kills)
    print(*queue.told, sep="\n")
    assert weights(run) == weights(undisturbed(command, processes))
    # A finished job that comes back has nothing left to do, and does nothing.
    before = content(run)
    assert set(queue.end(queue.start([*command, "-o", str(run), "--resume"], processes))) == {0}
    assert content(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pretrain", "classify", "finetune"])
def test_on_other_processes_it_ends_with_the_same_weights_but_for_rounding(
    name: str, material: Material, queue: Queue, undisturbed: Callable[[list[str], int], Path]
) -> None:
    command = arguments(name, material, queue.folder, NO_DROPOUT, STEPS * KILLS + REST)
    run = queue.folder / "run"
    requeue(queue, command, run, cycle([3, 1, 2]), KILLS)
    difference = largest_difference(run, undisturbed(command, 3))
    print(*queue.told, difference, sep="\n")
    assert difference <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("way", "code"), [("SIGTERM twice", 143), ("SIGUSR1, then SIGTERM", 138)])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_manager_signals_every_process(
    way: str, code: int, processes: int, material: Material, queue: Queue
) -> None:
    """The launcher, the processes that train, and those that make their batches."""
    workers = ["train.dataloader_num_workers=1", "train.save_steps=5000", "train.eval_steps=5000", "-n", str(processes)]
    command = arguments("pretrain", material, queue.folder, f"model.config={SHAPE}", 5000)
    command += [*workers, "-o", "run", "--resume"]
    with psutil.Popen([sys.executable, "-m", "llmkit", *command], cwd=queue.folder, stderr=subprocess.PIPE) as process:
        while not (queue.folder / "run" / "log.jsonl").is_file():
            assert process.poll() is None
            time.sleep(0.01)
        for pause, number in WAYS[way]:
            time.sleep(pause)
            for member in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    member.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    assert b"Traceback" not in err
    assert err.count(b"saving after this step") == 1
    saved = newest(queue.folder / "run" / "checkpoints")
    assert saved is not None
    assert f"after step {int(saved.name.rpartition('-')[2]):,}, which is saved".encode() in err


def test_a_run_that_two_processes_began_goes_on_in_one(
    material: Material, queue: Queue, llmkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*arguments("pretrain", material, queue.folder, NO_DROPOUT, 24), "train.save_steps=4"]
    run = queue.folder / "run"
    started = queue.start([*command, "-o", str(run)], 2)
    while newest(run / "checkpoints") is None:
        assert started[0].exitcode is None, queue.messages()
        time.sleep(0.01)
    for process in started:
        process.kill()
    queue.end(started)
    with monkeypatch.context() as patch:
        patch.setattr("llmkit.commands.job.world_size", lambda: 3)
        code, _, err = llmkit(*command, "-o", str(run), "--resume")
    assert code == 1
    assert "error: 3 processes cannot share the run's batch of 4 examples evenly\n" in err
    assert "a number of processes that can: 1, 2, 4." in err

    code, _, err = llmkit(*command, "-o", str(run), "--resume")
    assert code == 0, err
    told = "on 1 process in place of 2, the batch of 4 examples stays the same: 1 × 4 accumulated × 1 process\n"
    assert told in err
    assert "training: 24 steps of 4 examples (1 × 4 accumulated × 1 process)" in err
    # What says how the run was started stays; what changed is in the log.
    assert json.loads((run / "env.json").read_text())["processes"] == 2
    assert RunDir(run).recipe()["train"]["gradient_accumulation_steps"] == 2
    (moved,) = [line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if "processes" in line]
    assert (moved["processes"], moved["gradient_accumulation_steps"]) == (1, 4)

    sizes = ["train.per_device_train_batch_size=4", "train.gradient_accumulation_steps=1", "-o", "whole"]
    assert llmkit(*command, *sizes)[0] == 0
    assert largest_difference(run, Path("whole").resolve()) <= TOLERANCE
