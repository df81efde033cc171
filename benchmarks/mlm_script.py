"""transformers' `run_mlm.py` with the flags that serve it best, on the corpus of the benchmarks of pretraining."""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from budgets import cost_of_step, steps_within
from pretraining import digest, held_out
from side_by_side import Figures, device, link_helpers, script

BERT_MINI = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LINE = 10_000  # characters: the script puts [CLS] and [SEP] around each line


class RunMlm:
    """Trainings of `run_mlm.py`, from random weights, in blocks of `--block-size` tokens.

    The learning rate is the best of `--learning-rates` in the first call of `trained`, or with `--sweep-each-budget` in
    the first one for the budget.
    """

    @staticmethod
    def add_options(options: argparse.ArgumentParser) -> None:
        """Add what can be said about them."""
        options.add_argument("--run-mlm", dest="script", type=Path, help="path of transformers' run_mlm.py")
        options.add_argument("--shape", type=json.loads, default=BERT_MINI, help="its BertConfig, as JSON")
        options.add_argument("--batch-size", type=int, default=32, help="its --per_device_train_batch_size")
        options.add_argument("--learning-rates", default="5e-4,1e-3,2e-3", help="from which it gets the best")
        options.add_argument(
            "--sweep-each-budget",
            action="store_true",
            help="find the best rate for every budget, not the shortest only",
        )
        options.add_argument("--flags", default="", help="more flags for it, such as --bf16 where that is fast")

    def __init__(self, arguments: argparse.Namespace, shards: Path) -> None:
        self._arguments, self._shards = arguments, shards
        self._best: dict[float, str] = {}  # the learning rate of a budget, or of all if they share it
        self._text = shards / "lines.txt"
        if not self._text.is_file():
            partial = self._text.with_suffix(".partial")
            with partial.open("w", encoding="utf-8") as out:
                out.writelines(f"{line}\n" for line in lines(arguments.text))
            partial.rename(self._text)

    def trained(self, budget: float, seed: int) -> Figures:
        """The figures of a training within a budget."""
        key = budget if self._arguments.sweep_each_budget else 0.0
        if key not in self._best:
            rates = self._arguments.learning_rates.split(",")
            found = {rate: self._trained(budget, seed, rate)["loss"] for rate in rates}
            shown = "  ".join(f"{rate} {loss:.4f}" for rate, loss in found.items())
            print(f"run_mlm.py, held-out loss by learning rate after {budget:.0f} s: {shown}", file=sys.stderr)
            self._best[key] = min(found, key=lambda rate: found[rate])
        return self._trained(budget, seed, self._best[key])

    def _trained(self, budget: float, seed: int, rate: str) -> Figures:
        arguments = self._arguments
        flags = self._flags()
        steps = math.ceil(steps_within(budget, f"run_mlm.py {digest(*flags)}", self._cost, arguments))
        flags += ["--max_steps", str(steps), "--learning_rate", rate, "--seed", str(seed)]
        folder = arguments.work.resolve() / "runs" / f"run_mlm-{digest(*flags)}"
        out = folder / "out"
        if not (out / "train_results.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            threads = str(arguments.threads)
            script(arguments.script, folder, [*flags, "--output_dir", "out"], **self._home(), OMP_NUM_THREADS=threads)
        tokens = steps * arguments.batch_size * arguments.block_size
        return {**held_out(out, self._shards, arguments), "steps": steps, "tokens": tokens}

    def _flags(self) -> list[str]:
        arguments = self._arguments
        vocabulary = {"vocab_size": json.loads((self._shards / "manifest.json").read_text())["vocab_size"]}
        shape = {**arguments.shape, **NO_DROPOUT, **vocabulary}
        return [
            *("--model_type", "bert", "--config_overrides", ",".join(f"{k}={v}" for k, v in shape.items())),
            *("--tokenizer_name", str(self._shards / "tokenizer"), "--do_train", "--train_file", str(self._text)),
            # Without a file, the script splits some off the text; it tokenizes this one, and evaluates nothing.
            *("--validation_file", str(self._short_file())),
            *("--max_seq_length", str(arguments.block_size), "--line_by_line", "False"),
            *("--per_device_train_batch_size", str(arguments.batch_size)),
            *("--warmup_steps", "0.1", "--weight_decay", "0.01", "--lr_scheduler_type", "linear"),
            *("--save_strategy", "no"),
            *arguments.flags.split(),
        ]

    def _short_file(self) -> Path:
        """A file with the first line of the text."""
        file = self._shards / "first-line.txt"
        if not file.is_file():
            with self._text.open(encoding="utf-8") as text:
                file.write_text(text.readline(), encoding="utf-8")
        return file

    def _home(self) -> dict[str, str]:
        """A cache that all trainings share: the text is tokenized once."""
        return {"HF_HOME": str(self._arguments.work.resolve() / "hf")}

    def _cost(self, watch: float) -> float:
        """Seconds for a step, the mean of a short run."""
        folder = self._arguments.work.resolve() / "cost"
        folder.mkdir(parents=True, exist_ok=True)
        link_helpers(self._arguments.script, folder)
        log = folder / "log.txt"
        flags = [*self._flags(), *device(), "--max_steps", "1000000", "--logging_steps", "1", "--output_dir", "out"]
        return cost_of_step(
            [sys.executable, self._arguments.script.name, *flags],
            folder,
            lambda: len(re.findall("'loss'", log.read_text(errors="replace"))),
            watch,
            cpu=self._arguments.cpu,
            threads=self._arguments.threads,
            PYTHONUNBUFFERED="1",
            **self._home(),
        )


def lines(folders: list[Path]) -> Iterator[str]:
    """The text of the folders' .txt files, in long lines."""
    for file in sorted(file for folder in folders for file in folder.glob("*.txt")):
        text = " ".join(file.read_text(encoding="utf-8").split())
        while text:
            space = text.rfind(" ", 0, LINE)
            end = space if len(text) > LINE and space > 0 else LINE
            yield text[:end]
            text = text[end:].lstrip()
