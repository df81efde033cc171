"""One bounded run on a GPU: does llmkit compute the right thing there, and how fast.

    python benchmarks/gpu.py -o FOLDER              under six minutes on an H100
    python benchmarks/gpu.py -o FOLDER --tiny       the same code in tiny sizes, on a CPU too

It needs nothing but llmkit and its dependencies (pytest for tests/gpu), and no network. Each part runs in a process of
its own, which is ended when its time is over; a part that does not fit into what is left of the budget is skipped. An
error in a part is noted, the others go on, and the exit code is 1. FOLDER/gpu.json is written after each part,
FOLDER/gpu.md, the table, in the end. What each part printed is in FOLDER/PART.log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from gpu_parts import Bench, Figures, part_named
from gpu_sizes import TINY
from side_by_side import machine

BUDGET = 340.0  # seconds


@dataclass(frozen=True)
class Part:
    """A part: the seconds that it is expected to take, and those after which it is ended."""

    name: str
    expected: float
    most: float


# By worth: what comes last is skipped first.
PARTS = (
    Part("data", 15, 60),
    Part("tests", 45, 100),
    Part("agreement", 15, 40),
    Part("pretrain-short", 25, 50),
    Part("pretrain-long", 25, 50),
    Part("finetune", 30, 70),
    Part("whole-short", 22, 50),
    Part("padded-short", 12, 40),
    Part("padded-long", 12, 40),
    Part("deterministic", 25, 60),
    Part("compiled-short", 60, 110),
    Part("resume", 25, 60),
    Part("compiled-long", 60, 110),
)
# What each is called in the table, in its order.
WHAT = {
    "tests": "tests/gpu",
    "agreement": "loss of a batch in fp32 on the CPU and in bf16, cosine of the gradients",
    "pretrain-short": "pretraining BERT-base at 128, micro-batches of 128",
    "whole-short": "the same, a step in one micro-batch",
    "compiled-short": "the same, compiled",
    "padded-short": "transformers' BERT-base at 128: padded, full head",
    "pretrain-long": "pretraining BERT-base at 512, micro-batches of 32",
    "compiled-long": "the same, compiled, a step in one micro-batch",
    "padded-long": "transformers' BERT-base at 512: padded, full head",
    "finetune": "fine-tuning BERT-base on questions, batches of 32",
    "deterministic": "a resumed run, `train.deterministic=true`",
    "resume": "a resumed run, without it",
}
ON_A_GPU = ("tests", "compiled-short", "compiled-long")  # parts that say nothing elsewhere


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-o", "--output", type=Path, required=True, help="folder for gpu.json, gpu.md and the logs")
    options.add_argument("--tiny", action="store_true", help="tiny sizes, in this process")
    options.add_argument("--budget", type=float, default=BUDGET, help="seconds for all parts together")
    options.add_argument(
        "--only", nargs="+", choices=[part.name for part in PARTS], help="some of the parts, and `data`"
    )
    arguments = options.parse_args()
    if not arguments.tiny and not _has_gpu():
        options.error("there is no GPU here; --tiny tries the code on a CPU")
    arguments.output.mkdir(parents=True, exist_ok=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    began = time.monotonic()
    results: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLMKIT_CACHE"] = str(Path(folder) / "cache")
        for part in PARTS:
            if arguments.only and part.name not in ("data", *arguments.only):
                continue
            left = arguments.budget - (time.monotonic() - began)
            at = time.monotonic()
            results[part.name] = _result(part, Path(folder), left, arguments)
            results[part.name]["seconds"] = round(time.monotonic() - at, 1)
            _write(arguments.output / "gpu.json", json.dumps({"machine": machine(), "parts": results}, indent=1))
            print(f"{part.name}: {json.dumps(results[part.name])[:300]}", file=sys.stderr, flush=True)
    table = to_table(results)
    _write(arguments.output / "gpu.md", table)
    print(table)
    return int(any("error" in figures for figures in results.values()))


def _result(part: Part, folder: Path, left: float, arguments: argparse.Namespace) -> Figures:
    """The figures of a part; or `skipped` or `error`, and why."""
    if part.name in ON_A_GPU and not _has_gpu():
        return {"skipped": "there is no GPU"}
    if left < part.expected:
        return {"skipped": f"{left:.0f} s left, {part.expected:.0f} s expected"}
    if arguments.tiny:
        return _here(part, folder, arguments.output)
    return _in_a_process(part, folder, min(part.most, left), arguments.output)


def _here(part: Part, folder: Path, output: Path) -> Figures:
    with (
        (output / f"{part.name}.log").open("w") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            return part_named(part.name)(Bench(folder, TINY))
        except Exception:  # an error of a part is its result
            return {"error": traceback.format_exc()[-3000:]}


def _in_a_process(part: Part, folder: Path, most: float, output: Path) -> Figures:
    """Run a part. When its time is over it is ended with all processes that it started."""
    command = [sys.executable, str(Path(__file__).with_name("gpu_parts.py")), part.name, str(folder)]
    log = output / f"{part.name}.log"
    with log.open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True, start_new_session=True)
        try:
            out, _ = process.communicate(timeout=most)
        except subprocess.TimeoutExpired:
            return {"error": f"ended after {most:.0f} s: {log.read_text()[-2000:]}"}
        finally:  # Ctrl-C too
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
    if process.returncode:
        return {"error": f"exit code {process.returncode}: {log.read_text()[-3000:]}"}
    figures: Figures = json.loads(out.splitlines()[-1])  # libraries may print before it
    return figures


def to_table(results: dict[str, Figures]) -> str:
    """The figures as a Markdown table, for docs/benchmarks.md."""
    rows = [("", "result"), ("---", "---")]
    rows += [(what, _cell(name, results[name], results)) for name, what in WHAT.items() if name in results]
    return "".join(f"| {what} | {cell} |\n" for what, cell in rows) + f"\nOne run. {machine()}\n"


def _cell(name: str, figures: Figures, results: dict[str, Figures]) -> str:
    for reason in ("skipped", "error"):
        if reason in figures:
            return f"{reason}: {figures[reason].strip().splitlines()[-1][:100]}"
    if name == "tests":
        return str(figures["pytest"])
    if name == "agreement":
        return f"{figures['loss_cpu_fp32']:.4f} and {figures['loss']:.4f}, {figures['gradient_cosine']:.5f}"
    if "same_bits" in figures:
        return "the same bits" if figures["same_bits"] else "other bits"
    cell = f"{figures['tokens_per_second']:,.0f} tokens/s"
    if "peak_share" in figures:
        cell += f", {figures['peak_share']:.0%} of the peak"
    padded = results.get(f"padded-{name.rpartition('-')[2]}", {})
    if "tokens_per_second" in padded and not name.startswith("padded"):
        cell += f", {figures['tokens_per_second'] / padded['tokens_per_second']:.1f} × transformers"
    if name.startswith("compiled"):
        cell += f"; {figures['first_line_seconds']:.0f} s to the first line of the log"
    if "squad_two_epochs_seconds" in figures:
        cell += f": two epochs of SQuAD in {figures['squad_two_epochs_seconds']:.0f} s"
        cell += f"; evaluation {figures['questions_per_second']:,.0f} questions/s"
    return cell


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _write(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


if __name__ == "__main__":
    sys.exit(main())
