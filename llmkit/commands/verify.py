"""`llmkit verify`: check what llmkit guarantees, on the user's own recipe and machine.

    determinism   two runs of a recipe reach the same checkpoint, bit for bit
    resume        so does a run that was killed and resumed
    packing       a document does not change the predictions for other documents in its block

On a GPU, the first two need `train.deterministic=true`. Runs are killed as soon as they have written the checkpoint to
compare, so nothing is evaluated.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import dump
from llmkit.system.console import duration, result, say
from llmkit.system.errors import UserError
from llmkit.system.progress import Progress
from llmkit.tasks.user_tasks import tasks_option
from llmkit.training.checkpoints import SEAL

if TYPE_CHECKING:
    from torch import Tensor

    from llmkit.commands.job import Job

FIRST, LAST = 3, 6  # steps: a run is killed at the first and resumed; checkpoints are compared at the last
TOLERANCE = 1e-6  # allowed change of a logit
# Weights, optimizer and scheduler, by how their files begin.
COMPARED = ("model.safetensors", "optimizer.", "scheduler.")

Recipe = PretrainRecipe | FinetuneRecipe


def verify_determinism(recipe: Recipe, processes: int | None) -> bool:
    """Whether two runs of a recipe reach the same checkpoint. Prints the result."""
    with TemporaryDirectory() as name:
        runs = [_Trial(recipe, Path(name) / run, processes) for run in ("first", "second")]
        for number, run in enumerate(runs, start=1):
            say(f"{number} of 2  a run to step {LAST}")
            run.to(LAST)
        return _compare(recipe, "two runs of the same recipe", *runs)


def verify_resume(recipe: Recipe, processes: int | None) -> bool:
    """Whether a killed and resumed run reaches the same checkpoint as an uninterrupted one. Prints the result."""
    with TemporaryDirectory() as name:
        uninterrupted, killed = (_Trial(recipe, Path(name) / run, processes) for run in ("uninterrupted", "killed"))
        say(f"1 of 3  a run to step {LAST}")
        uninterrupted.to(LAST)
        say(f"2 of 3  another run, killed after its checkpoint at step {FIRST}")
        killed.to(FIRST)
        say(f"3 of 3  the killed run, resumed, to step {LAST}")
        killed.to(LAST, resume=True)
        return _compare(recipe, "an uninterrupted run and one that was killed and resumed", uninterrupted, killed)


def verify_packing(recipe: Recipe) -> bool:
    """Whether changing one document of a block leaves the logits of the others unchanged. Prints the result."""
    if not isinstance(recipe, PretrainRecipe):
        raise UserError("only pretraining packs documents", remedy="name a pretraining recipe with -r")
    from llmkit.commands.pretrain import prepare

    with TemporaryDirectory() as name:
        own, others, documents = _largest_changes(prepare(recipe, Path(name) / "run"))
    isolated = others <= TOLERANCE < own
    result(
        f"{'yes' if isolated else 'NO'}: one of the {documents} documents of a block was changed; its own logits "
        f"changed by up to {own:.1e}, those of the others by up to {others:.1e} (allowed: {TOLERANCE:.0e})"
    )
    return isolated


def _largest_changes(job: Job) -> tuple[float, float, int]:
    """Change one document of a block.

    Returns the largest change of its own logits, the largest change of the others' logits, and the number of documents
    in the block. Computes as the recipe would: with the kernel in bf16 where it has been chosen, or else in float32.
    """
    import torch

    from llmkit.corpus.masking import Vocabulary
    from llmkit.models.packed_attention import uses_kernel
    from llmkit.training.batches import MaskedBlocks, collate_blocks

    assert isinstance(job.data, MaskedBlocks)
    blocks = (job.data.__getitems__([number]) for number in range(len(job.data)))
    block = next((block for block in blocks if len(block["cu_seq_lens"]) > 2), None)
    if block is None:
        raise UserError("no block of this corpus contains two documents", remedy="raise corpus.block_size")
    batch = collate_blocks(block)
    ids, starts = batch["input_ids"], batch["cu_seq_lens"]
    changed, end = ids.clone(), int(starts[1])
    ordinary = torch.from_numpy(Vocabulary.of(job.tokenizer).ordinary)
    changed[:, :end] = ordinary[(ids[:, :end] + len(ordinary) // 2) % len(ordinary)]
    kernel = uses_kernel(job.model)
    device = "cuda" if kernel else "cpu"
    model: Any = job.model.to(device).eval()  # type: ignore[arg-type]
    everything = torch.arange(ids.numel(), device=device)

    def logits(input_ids: Tensor) -> Tensor:
        positions, documents = batch["position_ids"].to(device), starts.to(device)
        found: Tensor = model.masked_logits(input_ids.to(device), positions, documents, everything)
        return found.float().cpu()

    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=kernel):
        change = (logits(ids) - logits(changed)).abs().amax(dim=-1)
    return float(change[:end].max()), float(change[end:].max()), len(starts) - 1


class _Trial:
    """A shortened run of a recipe, in its own folder."""

    def __init__(self, recipe: Recipe, folder: Path, processes: int | None) -> None:
        train = recipe.train.model_copy(
            update={
                "max_steps": LAST + 1,
                "num_train_epochs": None,
                "time_budget": None,
                "save_steps": FIRST,
                "eval_steps": LAST + 1,
                "warmup_steps": min(recipe.train.warmup_steps, 0.1),
                "report_to": (),
            }
        )
        folder.mkdir()
        self._recipe = folder / "recipe.yaml"
        self._recipe.write_text(dump(recipe.model_copy(update={"train": train})), encoding="utf-8")
        self._command = "finetune" if isinstance(recipe, FinetuneRecipe) else "pretrain"
        self._run = folder / "run"
        self._processes = processes

    def checkpoint(self, step: int) -> Path:
        """The path of a step's checkpoint, whether it exists or not."""
        return self._run / "checkpoints" / f"checkpoint-{step}"

    def to(self, step: int, *, resume: bool = False) -> None:
        """Run until the checkpoint of a step is complete, then kill the run. Raises UserError if it ends before."""
        command = [sys.executable, "-m", "llmkit", self._command, "-r", str(self._recipe), "-o", str(self._run)]
        command += tasks_option() if self._command == "finetune" else []
        command += ["--resume"] * resume + ["-n", str(self._processes)] * bool(self._processes)
        log = self._recipe.with_name("log.txt")
        start = time.monotonic()
        with Progress("running") as progress, log.open("w") as out:
            process = psutil.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            try:
                while not (self.checkpoint(step) / SEAL).is_file() and process.poll() is None:
                    progress({"": duration(time.monotonic() - start)})
                    time.sleep(0.01)
            finally:
                _kill(process)
        if not (self.checkpoint(step) / SEAL).is_file():
            raise UserError(
                f"the run ended before step {step}: {log.read_text(encoding='utf-8').strip()[-2000:]}",
                remedy=f"check that the recipe runs: llmkit {self._command} -r RECIPE train.max_steps={LAST}",
            )
        # Remove checkpoints written between this one and the kill, so that a resumed run repeats these steps.
        for later in range(step + 1, LAST + 2):
            shutil.rmtree(self.checkpoint(later), ignore_errors=True)

    def hashes(self) -> dict[str, str]:
        """The hashes of the compared files, from the seal of the last checkpoint."""
        files: dict[str, str] = json.loads((self.checkpoint(LAST) / SEAL).read_text())["files"]
        return {name: content for name, content in files.items() if name.startswith(COMPARED)}


def _kill(process: Any) -> None:
    with suppress(psutil.NoSuchProcess):
        processes = [*process.children(recursive=True), process]
        for one in processes:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(processes)


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _compare(recipe: Recipe, runs: str, first: _Trial, second: _Trial) -> bool:
    hashes = first.hashes(), second.hashes()
    differing = [name for name in hashes[0] if hashes[0][name] != hashes[1][name]]
    for name in hashes[0]:
        one, other = (values[name][:16] for values in hashes)
        say(f"  {name:18}  {one}  {other}  {'differs' if name in differing else 'same'}")
    result(
        f"{'NO' if differing else 'yes'}: {runs} have "
        f"{'different' if differing else 'the same'} weights and optimizer state at step {LAST}"
        + (", bit for bit" if not differing else f" ({', '.join(differing)})")
    )
    if differing and not recipe.train.deterministic and _on_gpu():
        say("kernels of a GPU may add numbers in another order each time: verify it with train.deterministic=true")
    return not differing
