"""The parts of gpu.py: each is a function that measures one thing, through llmkit's own commands, and returns figures.

python benchmarks/gpu_parts.py PART FOLDER          one part, in a process of its own; its figures as JSON on stdout
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from gpu_sizes import REAL, Sizes
from made_up import write_questions, write_text, write_tokenizer

Figures = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
LINES = 4  # of the log, in a measured run: the first, with the warm-up, does not count
SQUAD_TOKENS = 88_524 * 170  # the windows of SQuAD's training set at 384/128, and their mean length
NO_ATTENTION_DROPOUT = {"attention_probs_dropout_prob": 0.0}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, **NO_ATTENTION_DROPOUT}
SAME = ("model/model.safetensors", "checkpoints/checkpoint-{}/optimizer.pt")  # what a resume must not change
LOSS, GRADIENT = 0.02, 0.99  # by how much a loss may differ in bf16, and how much gradients must agree in direction


@dataclass(frozen=True)
class Bench:
    """A folder to work in, and the sizes."""

    folder: Path
    sizes: Sizes

    @property
    def shards(self) -> Path:
        """The corpus."""
        return self.folder / "shards"

    def llmkit(self, *arguments: str) -> None:
        """Run a command in this process, as its user would. Raises RuntimeError if it ends with an error."""
        from llmkit.cli.main import main

        before, sys.argv = sys.argv, ["llmkit", *arguments]
        try:
            main()
        except SystemExit as stop:
            if stop.code:
                raise RuntimeError(f"llmkit {' '.join(arguments)} ended with {stop.code}") from None
        finally:
            sys.argv = before

    @contextlib.contextmanager
    def run(self, *arguments: str) -> Iterator[Path]:
        """The run of a training command, removed afterwards: its checkpoints are large."""
        path = self.folder / "run"
        shutil.rmtree(path, ignore_errors=True)
        self.llmkit(*arguments, "-n", "1", "-o", str(path))
        yield path
        shutil.rmtree(path)

    def pretrain(self, shape: dict[str, Any], block: int, piece: int) -> list[str]:
        """A command that pretrains, in optimizer steps of `sizes.batch` tokens."""
        command = ["pretrain", "-r", "bert-base", f"model.config={json.dumps(shape)}", f"corpus.path={self.shards}"]
        command += [f"corpus.block_size={block}", f"train.per_device_train_batch_size={piece // block}"]
        return [*command, f"train.gradient_accumulation_steps={self.sizes.batch // piece}"]

    def measured(self, evaluations: int) -> list[str]:
        """The length of a run that is measured, and how often it is evaluated."""
        steps = self.sizes.steps
        length = [f"train.max_steps={LINES * steps}", f"train.logging_steps={steps}"]
        return [*length, f"train.eval_steps={LINES * steps // evaluations}"]


def data(bench: Bench) -> Figures:
    """Make the corpus and the questions."""
    sizes, text = bench.sizes, bench.folder / "text.jsonl"
    words = write_tokenizer(bench.folder / "tokenizer", sizes.vocabulary)
    write_text(text, words, sizes.tokens, sizes.document)
    for seed, (split, part) in enumerate((("train", 1), ("validation", 3))):
        file = bench.folder / f"{split}.jsonl"
        write_questions(file, words, sizes.questions // part, seed=seed, context=sizes.context)
    bench.llmkit("tokenize", "-c", str(text), f"tokenizer.path={bench.folder / 'tokenizer'}", "-o", str(bench.shards))
    return json.loads((bench.shards / "manifest.json").read_text())["totals"]["train"]


def agreement(bench: Bench) -> Figures:
    """The loss and the gradient of one batch: in float32 on the CPU, and as the device computes in training."""
    import torch

    from llmkit.commands.pretrain import prepare
    from llmkit.recipes.pretraining import PretrainRecipe
    from llmkit.recipes.reading import read_recipe

    rows, found = 4, []
    for device, bf16 in (("cpu", False), ("cuda", True) if torch.cuda.is_available() else ("cpu", False)):
        command = bench.pretrain({**bench.sizes.base, **NO_DROPOUT}, bench.sizes.blocks[1], bench.sizes.piece)
        recipe = read_recipe(PretrainRecipe, "bert-base", [*command[3:], f"train.bf16={bf16}".lower()])
        job = prepare(recipe, bench.folder / "never")
        batch = job.collate(job.data.__getitems__(range(rows)))
        model: Any = job.model.to(device).train()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss
        loss.backward()
        gradient = [weight.grad.float().flatten().cpu() for weight in model.parameters() if weight.grad is not None]
        found.append((loss.item(), torch.cat(gradient)))
    (exact, direction), (loss, other) = found
    cosine = torch.nn.functional.cosine_similarity(direction, other, dim=0).item()
    if abs(loss - exact) > LOSS or cosine < GRADIENT:
        raise RuntimeError(f"losses {exact:.4f} and {loss:.4f}, cosine of the gradients {cosine:.4f}")
    return {"loss_cpu_fp32": exact, "loss": loss, "gradient_cosine": cosine}


def pretraining(bench: Bench, block: int, *, piece: int | None = None, more: tuple[str, ...] = ()) -> Figures:
    """The speed of pretraining."""
    shape = {**bench.sizes.base, **NO_ATTENTION_DROPOUT}
    with bench.run(*bench.pretrain(shape, block, piece or bench.sizes.piece), *bench.measured(1), *more) as run:
        return speed(run)


def finetuning(bench: Bench) -> Figures:
    """The speed of fine-tuning on questions, and of the evaluations between."""
    sizes = bench.sizes
    shape = json.dumps({**sizes.base, **NO_ATTENTION_DROPOUT})
    command = [
        "finetune",
        "-r",
        "squad-bert-base",
        f"model.config={shape}",
        f"model.tokenizer={bench.shards}/tokenizer",
    ]
    command += [f"data.{split}={bench.folder}/{split}.jsonl" for split in ("train", "validation")]
    command += [f"train.per_device_train_batch_size={sizes.rows}", *bench.measured(2)]
    with bench.run(*command) as run:
        figures = speed(run)
        evaluations = [line["eval_runtime"] for line in log_of(run) if "eval_runtime" in line]
    figures["squad_two_epochs_seconds"] = 2 * SQUAD_TOKENS / figures["tokens_per_second"]
    # The first evaluation has the warm-up in it.
    return {**figures, "questions_per_second": sizes.questions // 3 / evaluations[-1]}


def resuming(bench: Bench, *more: str) -> Figures:
    """Whether a run that is resumed in the middle ends with the bits of the run that was not."""
    import torch

    last = 8
    shape = {**bench.sizes.small, **NO_ATTENTION_DROPOUT}  # with it, the GPU's kernel would not run
    command = bench.pretrain(shape, bench.sizes.blocks[1], bench.sizes.piece)
    steps = [f"train.max_steps={last}", f"train.save_steps={last // 2}", "train.eval_steps=1000", "-n", "1"]
    whole, resumed = bench.folder / "whole", bench.folder / "resumed"
    for path in (whole, resumed):
        shutil.rmtree(path, ignore_errors=True)
    bench.llmkit(*command, *steps, *more, "-o", str(whole))
    shutil.copytree(whole, resumed)
    (resumed / "metrics.json").unlink()
    for made in (resumed / "model", resumed / "checkpoints" / f"checkpoint-{last}"):
        shutil.rmtree(made)
    bench.llmkit(*command, *steps, *more, "-o", str(resumed), "--resume")
    same = all((whole / file).read_bytes() == (resumed / file).read_bytes() for file in (f.format(last) for f in SAME))
    if more and not same:
        raise RuntimeError(f"the resumed run differs, with {' '.join(more)}")
    return {"same_bits": same, "deterministic": torch.are_deterministic_algorithms_enabled()}


def deterministic(bench: Bench) -> Figures:
    """The same, where the recipe asks for kernels that repeat their results."""

    return resuming(bench, "train.deterministic=true")


def tests(bench: Bench) -> Figures:
    """tests/gpu."""
    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if missing:
        return {"skipped": f"{' and '.join(missing)} not installed"}
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-p", "no:cacheprovider"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    if done.returncode:
        raise RuntimeError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
    return {"pytest": done.stdout.strip().splitlines()[-1].strip("= ")}


def speed(run: Path) -> Figures:
    """Medians over the lines of a run's log but the first."""
    import torch

    first, *others = (line for line in log_of(run) if "loss" in line)
    figures: Figures = {
        name: median(line[name] for line in others)
        for name in ("tokens_per_second", "real_token_share", "peak_share")
        if name in others[0]
    }
    figures |= {"first_line_seconds": first["seconds"], "loss": others[-1]["loss"]}
    if torch.cuda.is_available():
        figures["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return figures


def log_of(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def part_named(name: str) -> Callable[[Bench], Figures]:
    """The function of a part. Those that take a block measure `-short` and `-long` ones."""
    from gpu_padded import padded

    what, _, which = name.partition("-")
    if which in ("short", "long"):
        measures = {"pretrain": pretraining, "whole": whole_batches, "compiled": compiled, "padded": padded}
        return lambda bench: measures[what](bench, bench.sizes.blocks[which == "long"])
    return {
        "data": data,
        "agreement": agreement,
        "finetune": finetuning,
        "tests": tests,
        "resume": resuming,
        "deterministic": deterministic,
    }[name]


def whole_batches(bench: Bench, block: int) -> Figures:
    """Pretraining where a step is one micro-batch."""
    return pretraining(bench, block, piece=bench.sizes.batch)


def compiled(bench: Bench, block: int) -> Figures:
    """The same, compiled."""
    return pretraining(bench, block, piece=bench.sizes.batch, more=("train.torch_compile=true",))


if __name__ == "__main__":
    # Whatever the commands print goes to stderr.
    with contextlib.redirect_stdout(sys.stderr):
        figures = part_named(sys.argv[1])(Bench(Path(sys.argv[2]), REAL))
    print(json.dumps(figures))
