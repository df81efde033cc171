"""Compare what a time of pretraining is worth: llmkit's recipes and transformers' `run_mlm.py`, by held-out loss.

    python benchmarks/pretrain_quality.py --run-mlm …/language-modeling/run_mlm.py --recipes bert-mini \\
        --text BOOKS --held-out NOVELS --budgets 5m,10m,20m

All learn from the same text with the same tokenizer and cores. Each budget is a run of its own, with a whole schedule.
The time is that of the training steps: evaluations do not count, nor does the tokenizing of run_mlm.py.
All are scored, and evaluated on the way, on the same blocks of the held-out text with the same masks.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from budgets import steps_of_pretraining
from mlm_script import RunMlm
from pretraining import MASKED, corpus, figures_of, log_of, parser, pretrained, read, recipe_named, seconds
from side_by_side import Figures, machine

THEIRS = "run_mlm.py"
Curve = list[tuple[float, float]]


def ours(arguments: argparse.Namespace, shards: Path, recipe: str, budget: float, seed: int) -> tuple[Figures, Curve]:
    """The figures of a run of llmkit, and its curve: share of the run, held-out loss."""
    overrides = [f"corpus.path={shards}"]
    steps = steps_of_pretraining(budget, recipe, overrides, arguments)
    overrides += [f"train.max_steps={steps}", f"train.seed={seed}", "train.eval_steps=0.05"]
    run_folder = pretrained(recipe, overrides, arguments)
    curve = [(line["step"] / steps, line["eval_loss"]) for line in log_of(run_folder) if "eval_loss" in line]
    return figures_of(run_folder, shards, arguments), curve


def check(recipe: str, block_size: int) -> None:
    """See that the evaluations within a recipe's runs are those of the score. Exits if they are not."""
    section = read(recipe, ()).corpus
    if section.block_size != block_size:
        sys.exit(
            f"{recipe} evaluates in blocks of {section.block_size}, the score in blocks of {block_size}: give "
            f"--block-size {section.block_size}"
        )
    if section.eval_mlm_probability != MASKED:
        sys.exit(
            f"{recipe} does not evaluate with {MASKED:.0%} of the tokens masked: remove corpus.eval_mlm_probability"
        )


def share_to(curve: Curve, loss: float) -> float:
    """The share of the run at which the curve, a line between evaluations, reaches a loss; infinite if it does not."""
    before = (0.0, curve[0][1])
    for share, found in curve:
        if found <= loss:
            fall = before[1] - found
            return share - (share - before[0]) * (loss - found) / fall if fall > 0 else share
        before = (share, found)
    return math.inf


def table(title: str, rows: Mapping[str, list[Figures]]) -> None:
    """Print the medians over seeds, and the least and greatest loss."""
    print(f"\n{title}\n\n| | held-out loss | steps | tokens | parameters |\n|---|---|---|---|---|")
    for name, results in rows.items():
        losses = [figures["loss"] for figures in results]
        spread = f" ({min(losses):.3f} to {max(losses):.3f})" if len(losses) > 1 else ""
        steps, tokens, parameters = (median(f[key] for f in results) for key in ("steps", "tokens", "parameters"))
        sizes = f"{steps:,.0f} | {tokens / 1e6:.2f} M | {parameters / 1e6:.2f} M"
        print(f"| {name} | {median(losses):.3f}{spread} | {sizes} |")


def times(budget: float, curves: Mapping[str, list[Curve]], rows: Mapping[str, list[Figures]]) -> None:
    """Print how long each recipe takes to the final loss of the others, and the share of the budget: medians."""
    print(f"\n| seconds of {budget:.0f} to the final loss of | {' | '.join(rows)} |\n|{'---|' * (len(rows) + 1)}")
    for name, found in curves.items():
        cells = []
        for other, results in rows.items():
            target = median(figures["loss"] for figures in results)
            share = median(share_to(curve, target) for curve in found)
            reached = "not reached" if math.isinf(share) else f"{budget * share:.0f} ({share:.2f} ×)"
            cells.append("" if other == name else reached)
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--recipes", nargs="+", type=recipe_named, required=True, help="llmkit's recipes")
    options.add_argument("--budgets", type=several, default="5m,10m,20m", help="lengths of the runs")
    RunMlm.add_options(options)
    arguments = options.parse_args()
    if arguments.script and not arguments.text:
        options.error("run_mlm.py reads text: give --text too")
    if len({Path(recipe).stem for recipe in arguments.recipes}) < len(arguments.recipes):
        options.error("two recipes have the same name: copy one to a file of another name")
    for recipe in arguments.recipes:
        check(recipe, arguments.block_size)
    shards = corpus(arguments)
    theirs = RunMlm(arguments, shards) if arguments.script else None
    kind = "CPU" if arguments.cpu else "wall-clock"
    for budget in arguments.budgets:
        rows: dict[str, list[Figures]] = {}
        curves: dict[str, list[Curve]] = {}
        for seed in arguments.seeds:
            for recipe in arguments.recipes:
                figures, curve = ours(arguments, shards, recipe, budget, seed)
                rows.setdefault(Path(recipe).stem, []).append(figures)
                curves.setdefault(Path(recipe).stem, []).append(curve)
            if theirs:
                rows.setdefault(THEIRS, []).append(theirs.trained(budget, seed))
        seeds = f", medians of {len(arguments.seeds)} seeds" if len(arguments.seeds) > 1 else ""
        table(f"After {budget:.0f} s of {kind} time for training{seeds}", rows)
        if len(rows) > 1:
            times(budget, curves, rows)
    print(f"\nThreads: {arguments.threads}. {machine()}")


def several(text: str) -> list[float]:
    """Parse `5m,10m,20m`; the shortest first."""
    return sorted(seconds(part) for part in text.split(","))


if __name__ == "__main__":
    main()
