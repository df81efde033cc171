"""A trained model, loaded to answer: in onnxruntime where it was exported, else in PyTorch."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmkit.models.exported import Exported, exported
from llmkit.system import gpu
from llmkit.system.console import say
from llmkit.system.errors import UserError
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.system.processes import start_group
from llmkit.system.progress import Advance
from llmkit.tasks.inference import Reader, ready
from llmkit.tasks.settings import Settings
from llmkit.tasks.values import Prediction


def open_reader(settings: Settings, *, int8: bool = False) -> Reader:
    """Load a model that was fine-tuned for a task. `int8` asks for the quantized graphs of an export.

    Raises UserError.
    """
    quiet()
    keep_memory()
    gpu.set_up("auto")
    task, data, device = settings.task, settings.data, start_group()
    # A GPU computes faster than a graph, which runs on the CPU.
    export = _export(settings, int8=int8) if int8 or device.type == "cpu" else None
    model, codec = task.load_trained(export or settings.checkpoint, data)
    if export is not None:
        run = task.graphs().run(model, *export.graphs)
        return Reader(run, task, codec, data, settings.threshold, bf16=False, exported=True)
    bf16 = choose("auto").bf16
    return Reader(ready(model, device, bf16=bf16), task, codec, data, settings.threshold, bf16)


def _export(settings: Settings, *, int8: bool) -> Exported | None:
    """The graphs of the checkpoint, if it has them. Raises UserError."""
    task = settings.task
    if task.unexported is None:
        return exported(settings.checkpoint, task.graphs().files, int8=int8)
    if int8:
        raise UserError(f"models of {task.name} are not exported: {task.unexported}", remedy="leave out --int8")
    return None


class PatientReader:
    """A reader that goes on in smaller batches once memory has run out."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __call__(self, examples: Any, advance: Advance = lambda *_: None) -> Sequence[Prediction]:
        """One prediction per example. Raises UserError, and OutOfMemory if a single input does not fit in memory."""
        while True:
            try:
                predictions = self._reader(examples, advance)
            except OutOfMemory as error:
                if not error.smaller:
                    error.remedy = "take a smaller model or more memory"
                    raise
                batch_size = error.smaller["per_device_eval_batch_size"]
                say(f"{error.problems[0]}; going on with {batch_size} at a time")
            else:
                assert predictions is not None, "one process"
                return predictions
            self._reader = replace(self._reader, batch_size=batch_size)
            gc.collect()  # the frames of the error, which may hold tensors
