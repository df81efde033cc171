"""A loss or a gradient that is not finite ends the run, and names the examples of its step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from llmkit.system.errors import UserError
from llmkit.training.schedule import NEVER

MAX_NAMED = 8  # examples, in an error


class FirstNotFinite:
    """The first step with a value that is not finite.

    It is followed on the device, and read only when something is due: reading from a GPU blocks.
    """

    def __init__(self) -> None:
        self._first: torch.Tensor | None = None

    def look_at(self, step: int, *values: object) -> None:
        """Look at the values of a step, which are tensors if they are on the device."""
        for value in values:
            if isinstance(value, torch.Tensor):
                # torch.where would copy both numbers to the GPU, and wait.
                bad = (torch.isfinite(value).squeeze().logical_not().long() * (step - NEVER)) + NEVER
                self._first = bad if self._first is None else torch.minimum(self._first, bad)

    def read(self) -> int:
        """The first such step; NEVER if all values were finite."""
        return int(self._first) if self._first is not None else NEVER


class NotFinite(UserError):
    """The loss of a run or its gradient was not finite."""


def not_finite(step: int, names: Sequence[str], checkpoints: Path) -> NotFinite:
    """The error of a run with such a step, which had the examples of these names."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return NotFinite(
        f"the loss or its gradient is not finite, first at step {step:,}",
        f"that step's examples: {', '.join(names[:MAX_NAMED])}{more}",
        remedy="check these examples; or lower train.learning_rate, raise train.warmup_steps or set "
        f"train.bf16=false, and start again, or --resume from the last checkpoint in {checkpoints}",
    )
