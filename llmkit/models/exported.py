"""A checkpoint that was exported to ONNX: its graphs, and models that have everything but weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.models.checkpoint import Checkpoint
from llmkit.system.errors import UserError
from llmkit.system.extras import need
from llmkit.system.hub import reading_from_the_hub


@dataclass(frozen=True)
class Exported(Checkpoint):
    """A checkpoint whose weights are in `graphs`, the paths of its ONNX files."""

    graphs: tuple[Path, ...] = ()

    def load(self, kind: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        """See Checkpoint. The weights are memory that nothing is written to: a graph computes in their place."""
        import torch
        from transformers import GenerationConfig

        try:
            with torch.device("meta"):
                model = kind.from_config(self.config)
        except ValueError as error:
            if str(error).startswith("Unrecognized configuration class"):
                raise self.without(kind) from error
            raise
        if model.can_generate() and self.file("generation_config.json") is not None:
            with reading_from_the_hub("model", self.path):
                model.generation_config = GenerationConfig.from_pretrained(self.path)
        return model.to_empty(device="cpu"), {"missing_keys": [], "mismatched_keys": []}


def exported(checkpoint: Checkpoint, names: Sequence[str], *, int8: bool) -> Exported | None:
    """The checkpoint as an export, if it has ONNX files of these names; with `int8`, their quantized ones.

    Raises UserError if onnxruntime is missing, and with `int8` if the files are.
    """
    wanted = [f"{Path(name).stem}_int8.onnx" for name in names] if int8 else names
    files = [checkpoint.file(name) for name in wanted]
    found = tuple(file for file in files if file is not None)
    if len(found) < len(wanted):
        if int8:
            raise UserError(
                f"{checkpoint.name} has no {' and '.join(wanted)}",
                remedy=f"write it: llmkit export {checkpoint.name} -o FOLDER --int8, and name that folder",
            )
        if found:
            missing = " and ".join(name for name, file in zip(wanted, files, strict=True) if file is None)
            raise UserError(
                f"{checkpoint.name} has no {missing}; an older llmkit exported it",
                remedy="export the run again: llmkit export RUN -o FOLDER",
            )
        return None
    need("export", ["onnxruntime"])
    return Exported(checkpoint.name, checkpoint.path, found)
