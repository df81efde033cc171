"""What the comparisons share: run commands in turn, and say medians, ratios and the hardware."""

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
# One run of a contender in an empty folder.
Measure = Callable[[Path], Figures]

LLMKIT = [sys.executable, "-m", "llmkit"]


def parser(doc: str | None, script: str) -> argparse.ArgumentParser:
    """The options that all comparisons have; `script` is the one of transformers that llmkit stands beside."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    name = script.removesuffix(".py").replace("_", "-")
    found.add_argument(f"--{name}", dest="script", type=Path, required=True, help=f"transformers' {script}")
    found.add_argument("--runs", type=int, default=3, help="runs of each, in turn")
    found.add_argument("--work", type=Path, default=Path("benchmarks/work"), help="folder for samples of the data")
    return found


def run(command: list[str], folder: Path, *, output: Path | None = None, **environment: str) -> float:
    """Run a command in `folder` and return its wall-clock seconds; what it says goes to a file there.

    With `output`, stdout goes to that file. Ends the comparison, with the end of what was said, where it fails.
    """
    log = folder / "said.txt"
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
    """Run one of transformers' example scripts on the CPU or the GPU that there is; seconds.

    `folder` gets links to all that lies beside the script: its helpers, and the metric it loads by name.
    """
    import torch

    for beside in path.resolve().parent.iterdir():
        if not (folder / beside.name).exists():
            (folder / beside.name).symlink_to(beside)
    device = [] if torch.cuda.is_available() else ["--use_cpu"]
    return run([sys.executable, path.name, *device, *arguments], folder, **environment)


def compare(title: str, contenders: Mapping[str, Measure], *, runs: int, speed: str) -> None:
    """Run every contender `runs` times in turn, and print a Markdown table.

    The first contender is llmkit; `speed` is the figure that ratios are made of, other figures are shown
    beside it, so that a reader sees that the same work was done.
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
    """The hardware and the versions, in a sentence."""
    found = hardware()
    gpus = f", {', '.join(found['gpus'])}" if found["gpus"] else ", no GPU"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "tokenizers"))
    return f"{found['cores']} cores of {found['processor']} ({platform.machine()}){gpus}; {libraries}."


def sample(rows: list[Any], count: int) -> list[Any]:
    """`count` of the rows, the same ones at every call, in their order."""
    chosen = sorted(random.Random(0).sample(range(len(rows)), min(count, len(rows))))
    return [rows[number] for number in chosen]
