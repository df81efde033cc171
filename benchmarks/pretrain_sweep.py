"""Find the learning rate, or any other key of a recipe: a whole run for each value, and one held-out loss for all.

    python benchmarks/pretrain_sweep.py --recipe bert-mini --text BOOKS --held-out NOVELS --budget 5m \\
        --vary train.learning_rate=5e-4,1e-3,2e-3 --seeds 1,2,3

Runs are kept in --work: the same command goes on where it was stopped. More KEY=VALUE after it are for all runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from statistics import fmean

import yaml
from budgets import steps_of_pretraining
from pretraining import corpus, figures_of, parser, pretrained, read, recipe_named, seconds
from side_by_side import Figures, machine


def variations(varied: list[str]) -> list[list[str]]:
    """All combinations of `KEY=VALUE,VALUE…`, as lists of overrides. A value may be a list or a mapping of YAML."""
    choices = []
    for text in varied:
        key, equals, values = text.partition("=")
        parsed = yaml.safe_load(f"[{values}]") if equals else None
        if not parsed:
            sys.exit(f"--vary {text}: write KEY=VALUE,VALUE…")
        choices.append([f"{key}={v if isinstance(v, str) else json.dumps(v)}" for v in parsed])
    return [list(chosen) for chosen in itertools.product(*choices)]


def trained(arguments: argparse.Namespace, shards: Path, overrides: list[str], seed: int) -> Figures:
    """Pretrain with these overrides and a seed, and score the result. Exits if the run fails."""
    whole = [f"corpus.path={shards}", *overrides, *by_time(arguments)]
    if arguments.cpu:
        whole += [f"train.max_steps={steps_of_pretraining(arguments.budget, arguments.recipe, whole, arguments)}"]
    whole += [f"train.seed={seed}", "train.eval_steps=1000000", "train.logging_steps=0.05"]
    whole += ["train.save_steps=0.1"]  # a long run that is killed goes on
    return figures_of(pretrained(arguments.recipe, whole, arguments), shards, arguments)


def by_time(arguments: argparse.Namespace) -> list[str]:
    """The override that ends a run by the clock, if a budget is that."""
    return [] if arguments.cpu else [f"train.time_budget={arguments.budget}"]


def sweep(arguments: argparse.Namespace, combinations: list[list[str]]) -> list[list[Figures | None]]:
    """The figures of each combination and seed; None where a run failed, as with too high a learning rate.

    The first seed of all comes before the second of any: a sweep that is stopped is of use. Exits before any run if a
    combination is no recipe.
    """
    for combination in combinations:
        read(arguments.recipe, [*arguments.overrides, *combination, *by_time(arguments)])
    shards = corpus(arguments)
    found: list[list[Figures | None]] = [[] for _ in combinations]
    for seed in arguments.seeds:
        for combination, results in zip(combinations, found, strict=True):
            try:
                figures = trained(arguments, shards, [*arguments.overrides, *combination], seed)
                results.append(figures)
                shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            except SystemExit as failure:
                results.append(None)
                shown = f"failed\n{failure.code}"
            print(f"seed {seed}  {' '.join(combination)}: {shown}", file=sys.stderr, flush=True)
    return found


def row(combination: list[str], results: list[Figures | None]) -> str:
    """A row of the table: the values, the loss of each seed, their mean, and what the runs were."""
    cells = [override.partition("=")[2] for override in combination]
    cells += [f"{figures['loss']:.3f}" if figures else "failed" for figures in results]
    whole = [figures for figures in results if figures]
    if whole:
        loss, steps, tokens, parameters = (
            fmean(figures[name] for figures in whole) for name in ("loss", "steps", "tokens", "parameters")
        )
        cells += [f"**{loss:.3f}**", f"{steps:,.0f}", f"{tokens / 1e6:.2f} M", f"{parameters / 1e6:.2f} M"]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--recipe", required=True, type=recipe_named, help="recipe of all runs: a name or a file")
    options.add_argument("--budget", required=True, type=seconds, help="length of each run, such as 300s or 20m")
    options.add_argument("--vary", action="append", default=[], metavar="KEY=VALUE,VALUE…", help="may be repeated")
    options.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides for all runs")
    arguments = options.parse_args()
    combinations = variations(arguments.vary)
    found = sweep(arguments, combinations)
    keys = [override.partition("=")[0] for override in combinations[0]]
    columns = [*keys, *(f"seed {seed}" for seed in arguments.seeds), "mean loss", "steps", "tokens", "parameters"]
    kind = "CPU" if arguments.cpu else "wall-clock"
    print(f"\n{Path(arguments.recipe).stem}: held-out loss after {arguments.budget:.0f} s of {kind} time")
    print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    print("\n".join(row(*pair) for pair in zip(combinations, found, strict=True)))
    print(f"\nThreads: {arguments.threads}. {machine()}")
    return int(any(None in results for results in found))


if __name__ == "__main__":
    sys.exit(main())
