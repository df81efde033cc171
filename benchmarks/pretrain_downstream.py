"""Compare what pretrained runs are worth for tasks: fine-tune each on SQuAD, SST-2 and CoLA with the same settings.

    python benchmarks/pretrain_downstream.py --runs old=runs/bert-mini new=runs/modernbert-mini --seeds 1,2,3 \\
        --squad SQUAD/train.json SQUAD/test.json --sst2 SST2/train.jsonl SST2/validation.jsonl

A name may have several runs, pretrained with different seeds: `old=runs/a old=runs/b`. There must be as many as seeds,
and each is fine-tuned with one of these. A single run is fine-tuned with every seed.

Fine-tunings are kept in --work: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import fmean
from typing import Any

from pretraining import common, finished
from side_by_side import machine


@dataclass(frozen=True)
class Downstream:
    """A task to fine-tune on: its name in llmkit, the score that counts, and what it needs beside SHARED."""

    task: str
    score: str
    settings: Sequence[str]


# The learning rate is that of the demo, for models of a few million parameters.
SHARED = ("train.learning_rate=5e-4", "train.warmup_steps=0.1", "train.per_device_train_batch_size=32")
TASKS = {
    # Windows as long as the blocks of pretraining: a BERT has learned no later position.
    "squad": Downstream("squad", "f1", ["data.max_length=128", "data.doc_stride=32", "train.num_train_epochs=1"]),
    "sst2": Downstream("glue/sst2", "accuracy", ["train.num_train_epochs=3"]),
    "cola": Downstream("glue/cola", "matthews_correlation", ["train.num_train_epochs=3"]),
}


def tuned(arguments: argparse.Namespace, run: Path, name: str, seed: int) -> dict[str, Any]:
    """The scores of a run that is fine-tuned on a task."""
    task = TASKS[name]
    train, test = getattr(arguments, name)
    command = ["finetune", "--task", task.task, f"model.pretrained={run.resolve()}", f"data.train={train.resolve()}"]
    command += [f"data.validation={test.resolve()}", *SHARED, *task.settings, *arguments.overrides]
    command += [f"train.seed={seed}", "train.eval_steps=1000000"]
    weights = hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()
    folder = finished(command, weights, f"{run.name}-{name}", arguments)
    scores: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return scores


def named(text: str) -> tuple[str, Path]:
    """Parse `NAME=FOLDER`."""
    name, equals, folder = text.partition("=")
    if not equals or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: write NAME=FOLDER, with the folder of a run")
    return name, Path(folder)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", nargs="+", type=named, required=True, metavar="NAME=FOLDER", help="pretrained runs")
    for name, task in TASKS.items():
        options.add_argument(
            f"--{name}", nargs=2, type=Path, metavar=("TRAIN", "TEST"), help=f"files of {task.task}, to train and score"
        )
    common(options)
    options.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="overrides for all runs")
    arguments = options.parse_args()
    chosen = [name for name in TASKS if getattr(arguments, name)]
    if not chosen:
        options.error(f"give the files of a task: {', '.join(f'--{name}' for name in TASKS)}")
    runs: dict[str, list[Path]] = {}
    for title, run in arguments.runs:
        runs.setdefault(title, []).append(run)
    for title, several in runs.items():
        if len(several) not in (1, len(arguments.seeds)):
            options.error(
                f"{title} has {len(several)} runs for {len(arguments.seeds)} seeds: give one, or one for each"
            )
    columns = [*(f"seed {seed} (95 % interval)" for seed in arguments.seeds), "mean"]
    rows = []
    for name in chosen:
        score = TASKS[name].score
        for title, several in runs.items():
            pairs = zip(cycle(several), arguments.seeds, strict=False)
            found = [tuned(arguments, run, name, seed) for run, seed in pairs]
            cells = ["{:.2f} ({:.2f} to {:.2f})".format(f[score], *f[f"{score}_interval"]) for f in found]
            rows.append(
                f"| {name}, {score} | {title} | {' | '.join(cells)} | **{fmean(f[score] for f in found):.2f}** |"
            )
    print(f"| task | pretrained | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 2)}")
    print("\n".join(rows))
    print(f"\nThreads: {arguments.threads}. {machine()}")


if __name__ == "__main__":
    main()
