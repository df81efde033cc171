"""Shared code of the benchmarks: run commands in turn, and print medians, ratios and the hardware."""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from llmkit.system.machine import hardware

Figures = dict[str, float]
# Runs a contender once, in an empty folder.
Measure = Callable[[Path], Figures]

LLMKIT = [sys.executable, "-m", "llmkit"]


def parser(doc: str | None, script: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share. `script` is the transformers script to compare with."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    name = script.removesuffix(".py").replace("_", "-")
    options.add_argument(f"--{name}", dest="script", type=Path, required=True, help=f"path of transformers' {script}")
    options.add_argument("--runs", type=int, default=3, help="runs per contender")
    options.add_argument("--work", type=Path, default=Path("benchmarks/work"), help="folder for samples of the data")
    return options


def run(command: list[str], folder: Path, *, output: Path | None = None, **environment: str) -> float:
    """Run a command in `folder` and return its wall-clock seconds. Its output goes to a log file there.

    With `output`, stdout goes to that file. If the command fails, prints the end of the log and exits.
    """
    log = folder / "log.txt"
    began = time.perf_counter()
    with log.open("a") as err, (output or log).open("a") as out:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
            stdout=out,
            stderr=err,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nfailed with {done.returncode}:\n{log.read_text()[-3000:]}")
    return time.perf_counter() - began


def script(path: Path, folder: Path, arguments: list[str], **environment: str) -> float:
    """Run a transformers example script on the GPU, or else the CPU, and return its wall-clock seconds."""
    link_helpers(path, folder)
    return run([sys.executable, path.name, *device(), *arguments], folder, **environment)


def device() -> list[str]:
    """The flag that a transformers example script needs where there is no GPU."""
    import torch

    return [] if torch.cuda.is_available() else ["--use_cpu"]


def link_helpers(path: Path, folder: Path) -> None:
    """Link the files next to a script into `folder`: the script, its helpers, and the metric that it loads by name."""
    for file in path.resolve().parent.iterdir():
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)


def compare(title: str, contenders: Mapping[str, Measure], *, runs: int, speed: str) -> None:
    """Run the contenders in turn, `runs` times each, and print a Markdown table.

    The first contender is llmkit. Ratios compare the figure named `speed`; the others show that the contenders did the
    same work.
    """
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(1, runs + 1):
        for name, measure in contenders.items():
            with tempfile.TemporaryDirectory() as folder:
                figures = measure(Path(folder))
            found[name].append(figures)
            shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
            print(f"run {number}/{runs}  {name}: {shown}", file=sys.stderr, flush=True)
    ours = next(iter(contenders))
    figures = list(found[ours][0])
    print(f"\n{title}\n\n| | {' | '.join(figures)} | llmkit is |\n|---|{'---|' * (len(figures) + 1)}")
    for name, results in found.items():
        cells = []
        for figure in figures:
            values = [result[figure] for result in results]
            spread = f" ({min(values):.4g} to {max(values):.4g})" if figure == speed and runs > 1 else ""
            cells.append(f"{median(values):.4g}{spread}")
        ratio = median(r[speed] for r in found[ours]) / median(r[speed] for r in results)
        print(f"| {name} | {' | '.join(cells)} | {f'{ratio:.2f} ×' if name != ours else ''} |")
    print(f"\nMedians of {runs} runs in turn. {machine()}")


def machine() -> str:
    """The hardware and library versions, in one sentence."""
    found = hardware()
    gpus = f", {', '.join(found['gpus'])}" if found["gpus"] else ", no GPU"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "tokenizers"))
    return f"{found['cores']} cores of {found['processor']} ({platform.machine()}){gpus}; {libraries}."


def sample(rows: list[Any], count: int) -> list[Any]:
    """A random sample of `count` rows, the same at each call, in the original order."""
    chosen = sorted(random.Random(0).sample(range(len(rows)), min(count, len(rows))))
    return [rows[number] for number in chosen]
