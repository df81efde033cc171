"""What a step of a training costs, in wall-clock or CPU time, and so how many steps a budget buys."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from pretraining import digest, read
from side_by_side import LLMKIT

from llmkit.system.files import to_json, write_whole

WATCHED = 60.0  # seconds of a training, to know what its steps cost
POLL = 0.05
# What does not change the cost of a step.
FREE: dict[str, Any] = {
    "name": True,
    "model": {"config": {"initializer_range"}},
    "train": {
        *("num_train_epochs", "max_steps", "time_budget", "seed", "logging_steps", "eval_steps", "save_steps"),
        *("learning_rate", "lr_scheduler_type", "warmup_steps", "decay_steps", "weight_decay", "max_grad_norm"),
        *("adam_beta1", "adam_beta2", "adam_epsilon"),
    },
}
Cost = Callable[[float], float]  # seconds to watch a training → seconds for a step of it


def steps_within(budget: float, name: str, cost: Cost, arguments: argparse.Namespace) -> float:
    """How many steps a budget in seconds buys, with the fraction of the last one.

    `cost` measures a step, for at most the budget. What it finds is kept in --work under the name: all runs of that
    name have the same number of steps.
    """
    record = arguments.work / "costs.json"
    name += f" ({'CPU' if arguments.cpu else 'wall-clock'} time, threads: {arguments.threads})"
    costs: dict[str, float] = json.loads(record.read_text()) if record.is_file() else {}
    if name not in costs:
        costs[name] = cost(min(WATCHED, budget))
        print(f"{name}: {costs[name]:.3g} s a step", file=sys.stderr, flush=True)
        write_whole(record, to_json(costs))
    return budget / costs[name]


def steps_of_pretraining(budget: float, recipe: str, overrides: Sequence[str], arguments: argparse.Namespace) -> int:
    """How many steps of `llmkit pretrain` a budget buys, at least one.

    Recipes that differ in FREE keys alone get the same number.
    """
    costly = read(recipe, overrides).model_dump(exclude=FREE)

    def cost(watch: float) -> float:
        return cost_of_pretraining(["pretrain", "-r", recipe, *overrides], watch, arguments)

    name = f"{Path(recipe).stem} {digest(to_json(costly))}"
    return max(1, round(steps_within(budget, name, cost, arguments)))


def cost_of_pretraining(command: Sequence[str], watch: float, arguments: argparse.Namespace) -> float:
    """Seconds for a step of `llmkit pretrain`: the mean of a short run, over which the masks change as in a whole one.

    The schedule of the learning rate costs nothing: it is a plain one, since phases in steps do not fit a run by time.
    """
    length = [f"train.time_budget={watch}", "train.logging_steps=1", "train.eval_steps=1000000"]
    length += ["train.lr_scheduler_type=linear", "train.warmup_steps=0", "train.decay_steps=null"]
    with TemporaryDirectory() as folder:
        log = Path(folder) / "run" / "log.jsonl"

        def steps() -> int:
            lines = log.read_text(encoding="utf-8").split("\n")[:-1] if log.is_file() else []
            return max((json.loads(line)["step"] for line in lines if '"loss"' in line), default=0)

        whole = [*LLMKIT, *command, *length, "-o", str(log.parent)]
        return cost_of_step(whole, Path(folder), steps, watch, cpu=arguments.cpu, threads=arguments.threads)


def cost_of_step(
    command: Sequence[str],
    folder: Path,
    steps: Callable[[], int],
    watch: float,
    *,
    cpu: bool,
    threads: int,
    **environment: str,
) -> float:
    """Start a training in `folder`, watch it for `watch` seconds after its first step, and end it: seconds for a step.

    `steps` counts those that are done. The first one, which is slow, does not count. With `cpu`, seconds are those of
    all threads of the process, else of the clock. Exits if the training ends before its second step.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), **environment}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    watched = psutil.Process(process.pid)
    ends: list[tuple[int, float, float]] = []  # steps done, the cost so far, the time
    try:
        while process.poll() is None and (len(ends) < 2 or time.monotonic() - ends[0][2] < watch):
            done = steps()
            if done and (not ends or done > ends[-1][0]):
                now = time.monotonic()
                ends.append((done, sum(watched.cpu_times()[:2]) if cpu else now, now))
            time.sleep(POLL)
    finally:
        process.kill()
        process.wait()
    if len(ends) < 2:
        sys.exit(f"{' '.join(command)}\nended before its second step:\n{(folder / 'log.txt').read_text()[-3000:]}")
    return (ends[-1][1] - ends[0][1]) / (ends[-1][0] - ends[0][0])
