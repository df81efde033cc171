"""`llmkit verify`: a user's own proof, on their recipe and machine, that a run is what it says.

    determinism   two runs of a recipe come to the same checkpoint, bit for bit
    resume        so does one that was killed and resumed
    packing       a document moves no other document's predictions

Runs are killed as soon as they have written the checkpoint that is compared: nothing is evaluated.
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

FIRST, LAST = 3, 6  # steps whose checkpoints are looked at
ISOLATED = 1e-6  # by less than this a logit may move, in float32
SAME = ("model.safetensors", "optimizer.pt", "scheduler.pt")  # what a run goes on from

Recipe = PretrainRecipe | FinetuneRecipe


def verify_determinism(recipe: Recipe, processes: int | None) -> bool:
    """Whether two runs come to the same checkpoint."""
    with TemporaryDirectory() as name:
        runs = [_Trial(recipe, Path(name) / run, processes) for run in ("first", "second")]
        for number, run in enumerate(runs, start=1):
            say(f"{number} of 2  a run to step {LAST}")
            run.to(LAST)
        return _compared("two runs of the same recipe", *runs)


def verify_resume(recipe: Recipe, processes: int | None) -> bool:
    """Whether a run that was killed and resumed comes to the same checkpoint as one that was not."""
    with TemporaryDirectory() as name:
        whole, killed = (_Trial(recipe, Path(name) / run, processes) for run in ("whole", "killed"))
        say(f"1 of 3  a run to step {LAST}")
        whole.to(LAST)
        say(f"2 of 3  another, killed after its checkpoint of step {FIRST}")
        killed.to(FIRST)
        say(f"3 of 3  the same, resumed, to step {LAST}")
        killed.to(LAST, resume=True)
        return _compared("a run that was killed and resumed, and one that was not", whole, killed)


def verify_packing(recipe: Recipe) -> bool:
    """Whether changing one document of a block moves no logit of the others."""
    if not isinstance(recipe, PretrainRecipe):
        raise UserError("packing is a matter of pretraining", remedy="name a pretraining recipe with -r")
    from llmkit.commands.pretrain import prepare

    with TemporaryDirectory() as name:
        own, others, documents = _moved(prepare(recipe, Path(name) / "run"))
    isolated = others <= ISOLATED < own
    result(
        f"{'yes' if isolated else 'NO'}: of a block of {documents} documents one was changed; its own logits moved by "
        f"up to {own:.1e}, those of the others by up to {others:.1e} (allowed: {ISOLATED:.0e})"
    )
    return isolated


def _moved(job: Job) -> tuple[float, float, int]:
    """What changing one document of a block does, at most, to its own logits and to those of the others, in float32;
    and how many documents the block holds."""
    import torch

    from llmkit.corpus.masking import Vocabulary
    from llmkit.models.packed_attention import isolation
    from llmkit.training.batches import MaskedBlocks, collate_blocks

    assert isinstance(job.data, MaskedBlocks)
    blocks = (job.data[number] for number in range(len(job.data)))
    block = next((block for block in blocks if len(block["starts"]) > 1), None)
    if block is None:
        raise UserError("no block of this corpus holds two documents", remedy="raise corpus.block_size")
    batch = collate_blocks([block])
    ids, starts = batch["input_ids"], batch["cu_seq_lens"]
    changed, end = ids.clone(), int(starts[1])
    ordinary = torch.from_numpy(Vocabulary.of(job.tokenizer).ordinary)
    changed[:, :end] = ordinary[(ids[:, :end] + len(ordinary) // 2) % len(ordinary)]
    model: Any = job.model
    model.set_attn_implementation("sdpa")  # the kernel that bf16 runs use on a GPU knows no float32
    model.eval()

    def logits(input_ids: Tensor) -> Tensor:
        apart = isolation(model.config, input_ids, starts)
        states: Tensor = model.bert(input_ids, position_ids=batch["position_ids"], **apart).last_hidden_state
        return model.cls(states)  # type: ignore[no-any-return]

    with torch.inference_mode():
        moved = (logits(ids) - logits(changed)).abs().amax(dim=-1)[0]
    return float(moved[:end].max()), float(moved[end:].max()), len(starts) - 1


class _Trial:
    """A short form of a recipe's run, in a folder of its own."""

    def __init__(self, recipe: Recipe, folder: Path, processes: int | None) -> None:
        train = recipe.train.model_copy(
            update={
                "max_steps": LAST + 1,
                "num_train_epochs": None,
                "time_budget": None,
                "save_steps": FIRST,
                "eval_steps": LAST + 1,
                "warmup_steps": min(recipe.train.warmup_steps, 0.1),
            }
        )
        folder.mkdir()
        self._recipe = folder / "recipe.yaml"
        self._recipe.write_text(dump(recipe.model_copy(update={"train": train})), encoding="utf-8")
        self._command = "finetune" if isinstance(recipe, FinetuneRecipe) else "pretrain"
        self._run = folder / "run"
        self._processes = processes

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of a step is, or will be."""
        return self._run / "checkpoints" / f"checkpoint-{step}"

    def to(self, step: int, *, resume: bool = False) -> None:
        """Run until the checkpoint of a step is whole, and kill the run there. Raises UserError where it fails."""
        command = [sys.executable, "-m", "llmkit", self._command, "-r", str(self._recipe), "-o", str(self._run)]
        command += tasks_option() if self._command == "finetune" else []
        command += ["--resume"] * resume + ["-n", str(self._processes)] * bool(self._processes)
        said = self._recipe.with_name("said.txt")
        began = time.monotonic()
        with Progress("running") as progress, said.open("w") as out:
            process = psutil.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            try:
                while not (self.checkpoint(step) / SEAL).is_file() and process.poll() is None:
                    progress({"": duration(time.monotonic() - began)})
                    time.sleep(0.01)
            finally:
                _kill(process)
        if not (self.checkpoint(step) / SEAL).is_file():
            raise UserError(
                f"the run ended before step {step}: {said.read_text(encoding='utf-8').strip()[-2000:]}",
                remedy=f"see that the recipe runs: llmkit {self._command} -r RECIPE train.max_steps={LAST}",
            )
        # What it did between that checkpoint and its death is not to help it.
        for later in range(step + 1, LAST + 2):
            shutil.rmtree(self.checkpoint(later), ignore_errors=True)

    def hashes(self) -> dict[str, str]:
        """The hashes of what a run goes on from, as its last checkpoint was sealed."""
        files: dict[str, str] = json.loads((self.checkpoint(LAST) / SEAL).read_text())["files"]
        return {name: files[name] for name in SAME}


def _kill(process: Any) -> None:
    with suppress(psutil.NoSuchProcess):
        family = [*process.children(recursive=True), process]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family)


def _compared(what: str, one: _Trial, other: _Trial) -> bool:
    hashes = one.hashes(), other.hashes()
    differing = [name for name in SAME if hashes[0][name] != hashes[1][name]]
    for name in SAME:
        ones, others = (found[name][:16] for found in hashes)
        say(f"  {name:18}  {ones}  {others}  {'differs' if name in differing else 'same'}")
    result(
        f"{'NO' if differing else 'yes'}: {what} came to "
        f"{'different' if differing else 'the same'} weights and optimizer at step {LAST}"
        + (", bit for bit" if not differing else f" ({', '.join(differing)})")
    )
    return not differing
