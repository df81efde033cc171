"""A finished run as a value: its recipe, scores, log, predictions and model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.system.errors import UserError
from llmkit.system.run_folder import RunDir

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.tasks.values import Prediction


class Run:
    """A finished run, opened by its folder: `Run("runs/mine")`. Raises UserError if there is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "recipe.yaml").is_file():
            raise UserError(f"{path} is not a run", remedy="give the folder of a run")
        if not RunDir(self.path).finished:
            raise UserError(f"{path} is not finished", remedy=f"finish it first: its command, with --resume -o {path}")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe."""
        return RunDir(self.path).recipe()

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of the best checkpoint on the validation data: metrics.json."""
        scores: dict[str, Any] = json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))
        return scores

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl, oldest first: step, loss, learning rate, tokens per second, scores."""
        return [json.loads(line) for line in (self.path / "log.jsonl").read_text(encoding="utf-8").splitlines()]

    @property
    def predictions(self) -> list[Prediction]:
        """The predictions for the validation data. Empty for a pretraining run."""
        from llmkit.tasks.predictions import read_predictions

        file = self.path / "predictions.jsonl"
        return read_predictions(file) if file.is_file() else []

    def model(self) -> PreTrainedModel:
        """Load the model with transformers, in evaluation mode."""
        from transformers import AutoModelForMaskedLM

        from llmkit.models.checkpoint import Checkpoint
        from llmkit.system.machine import quiet
        from llmkit.tasks.purpose import purpose_of

        quiet()
        checkpoint, purpose = Checkpoint.named(str(self.path)), purpose_of(str(self.path))
        loaded: PreTrainedModel
        loaded, _ = checkpoint.load(purpose.task.head.auto if purpose else AutoModelForMaskedLM)
        loaded.eval()
        return loaded

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Load the model's tokenizer."""
        from llmkit.models.checkpoint import Checkpoint

        return Checkpoint.named(str(self.path)).tokenizer()
