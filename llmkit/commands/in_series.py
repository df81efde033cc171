"""Runs one after another in the same processes, for commands whose folder holds several runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from llmkit.commands.finetune import read_examples
from llmkit.commands.job import Job, train
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.system import stop_signals
from llmkit.system.errors import Stopped
from llmkit.system.machine import give_memory_back
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import max_over_processes
from llmkit.system.run_folder import RunDir

if TYPE_CHECKING:
    from datasets import DatasetDict


class InSeries:
    """Trains the runs of a folder, which the command was given, one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._earlier = len(stop_signals.received)

    def train(self, prepare: Callable[[], Job]) -> RunDir:
        """Prepare a run and train it. Raises what these raise; what errors say about going on is about the folder.

        Raises Stopped before it if a signal came too late to stop the run before.
        """
        self._stop_if_asked()
        job = replace(prepare(), series=self._folder)
        path, compiled = job.run.path, job.recipe.train.torch_compile
        # From the second run on, the process group exists: none may start the run before all have looked at its folder.
        max_over_processes(0)
        try:
            return train(job)
        except (Stopped, OutOfMemory) as error:
            error.remedy = error.remedy.replace(f"-o {path}", f"-o {self._folder}")
            raise
        finally:
            del job
            _free_memory(compiled=compiled)

    def _stop_if_asked(self) -> None:
        number = int(max_over_processes(max(stop_signals.received[self._earlier :], default=0)))
        if number:
            raise Stopped(Signals(number), "stopped between two runs", self._folder)


class ReadOnce:
    """Reads the examples of fine-tuning runs, once for consecutive ones of the same data. Raises UserError."""

    def __init__(self) -> None:
        self._last: tuple[Any, DatasetDict] | None = None

    def __call__(self, recipe: FinetuneRecipe) -> DatasetDict:
        """As finetune's `read_examples`."""
        wanted = (recipe.task, recipe.data)
        if self._last is None or self._last[0] != wanted:
            self._last = (wanted, read_examples(recipe))
        return self._last[1]


def _free_memory(*, compiled: bool) -> None:
    import torch
    from accelerate.utils.memory import clear_device_cache

    if compiled:
        torch.compiler.reset()  # or the code of a few models would be compiled, and that of the others would not
    clear_device_cache(garbage_collection=True)
    give_memory_back()
