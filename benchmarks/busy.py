"""Measure training steps alone and beside busy loops, with waiting threads as torch has them and as llmkit has them.

    python benchmarks/busy.py --json busy.json

The loops stand for other programs, one a core at most. Both contenders compute the same steps, in processes of their
own, because torch reads the setting when it is loaded. They take turns within each round. Ratios compare a median with
that of torch's own setting alone: what a busy machine costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

SHAPES = {
    "3 × 128": {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 512},
    "MiniLM-L6": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
}
BATCH, LENGTH, VOCABULARY, MASKED = 16, 128, 8192, 0.15
# A contender loads torch before llmkit, which then leaves everything as it is, or llmkit first.
CONTENDERS = {"before": "import torch, llmkit", "now": "import llmkit, torch"}
LOOPS = (0, 1, 2)
AT_LEAST = 3  # steps a measurement
Times = dict[tuple[str, str, int], list[float]]  # (contender, shape, loops) → ms a step, a median per round


def training_step(shape: dict[str, int]) -> Callable[[], None]:
    """A step of pretraining as llmkit takes it: model, loss, clipping, optimizer."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    from llmkit.models.masked_lm import packed

    torch.manual_seed(0)
    config = BertConfig(vocab_size=VOCABULARY, attention_probs_dropout_prob=0.0, **shape)
    model = packed(BertForMaskedLM(config), LENGTH).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    masked = torch.randperm(BATCH * LENGTH)[: int(MASKED * BATCH * LENGTH)].sort().values
    inputs = {
        "input_ids": torch.randint(5, VOCABULARY, (BATCH, LENGTH)),
        "position_ids": torch.arange(LENGTH).repeat(BATCH, 1),
        "cu_seq_lens": torch.arange(0, BATCH * LENGTH + 1, LENGTH, dtype=torch.int32),
        "masked_positions": masked,
        "labels": torch.randint(5, VOCABULARY, masked.shape),
    }

    def step() -> None:
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def work() -> None:
    """In a contender's process: for each line `SECONDS SHAPE` on stdin, take steps and print the median in ms."""
    from llmkit.system.machine import keep_memory

    keep_memory()
    steps: dict[str, Callable[[], None]] = {}
    for line in sys.stdin:
        seconds, shape = line.strip().split(" ", 1)
        if shape not in steps:
            steps[shape] = training_step(SHAPES[shape])
            steps[shape]()  # the first one allocates
        times: list[float] = []
        while len(times) < AT_LEAST or sum(times) < float(seconds):
            began = time.perf_counter()
            steps[shape]()
            times.append(time.perf_counter() - began)
        print(1000 * median(times), flush=True)


@contextmanager
def contender(imports: str) -> Iterator[Callable[[float, str], float]]:
    """Start a contender, without what llmkit set in this process. Yields its measure: (seconds, shape) → ms a step."""
    from llmkit.system.threads import OURS, WAITING

    environment = {name: value for name, value in os.environ.items() if name not in (OURS, *WAITING)}
    start = f"{imports}, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import busy; busy.work()"
    command = [sys.executable, "-c", start]
    with subprocess.Popen(command, env=environment, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def measure(seconds: float, shape: str) -> float:
            print(seconds, shape, file=process.stdin, flush=True)
            return float(process.stdout.readline())

        yield measure
        process.stdin.close()


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.3)  # to start
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def measure_all(shapes: list[str], rounds: int, seconds: float) -> Times:
    """Every contender, shape and number of loops in turn, in each round."""
    times: Times = {}
    with ExitStack() as stack:
        measures = {name: stack.enter_context(contender(imports)) for name, imports in CONTENDERS.items()}
        for measure, shape in product(measures.values(), shapes):
            measure(0, shape)
        for number, loops in product(range(rounds), LOOPS):
            with busy_loops(loops):
                for shape, (name, measure) in product(shapes, measures.items()):
                    found = measure(seconds, shape)
                    times.setdefault((name, shape, loops), []).append(found)
                    print(
                        f"round {number + 1}/{rounds}  {loops} loops  {shape}  {name}: {found:.0f} ms", file=sys.stderr
                    )
    return times


def rows(times: Times) -> Iterator[dict[str, Any]]:
    """Medians with their spread, and how many times longer a step takes than before and alone."""
    for (name, shape, loops), found in times.items():
        yield {
            "shape": shape,
            "loops": loops,
            "setting": name,
            "ms": median(found),
            "least": min(found),
            "most": max(found),
            "ratio": median(found) / median(times["before", shape, 0]),
        }


def main() -> None:
    from side_by_side import machine

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3, help=f"per measurement, and {AT_LEAST} steps or more")
    options.add_argument("--shape", choices=SHAPES, action="append", help="one shape alone")
    options.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = options.parse_args()
    shapes = arguments.shape or list(SHAPES)
    found = list(rows(measure_all(shapes, arguments.rounds, arguments.seconds)))
    print(f"\nA step of {BATCH} × {LENGTH} tokens, ms\n\n| shape | busy loops | before | now |\n|---|---|---|---|")
    for shape, loops in product(shapes, LOOPS):
        cells = [
            "{ms:.0f} ({least:.0f} to {most:.0f}), {ratio:.2f} ×".format(**row)
            for name in CONTENDERS
            for row in found
            if (row["setting"], row["shape"], row["loops"]) == (name, shape, loops)
        ]
        print(f"| {shape} | {loops} | {' | '.join(cells)} |")
    print(f"\nMedians of {arguments.rounds} rounds in turn, × before alone. {machine()}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "steps": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
