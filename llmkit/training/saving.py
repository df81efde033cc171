"""Write the model of a finished training into its run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from llmkit.corpus.tokenizer import DECODER_TOKENIZER
from llmkit.system.console import is_main
from llmkit.system.files import libraries_writing
from llmkit.system.processes import from_first
from llmkit.system.run_folder import RunDir
from llmkit.training.trainer import Trainer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def save_model(trainer: Trainer, run: RunDir, target_tokenizer: PreTrainedTokenizerFast | None = None) -> None:
    """Write the model and its tokenizers to run/model, atomically."""
    aside = run.path / ".model.partial"
    if is_main():
        shutil.rmtree(aside, ignore_errors=True)
    from_first(True if is_main() else None)
    with libraries_writing(str(run.model), aside, remedy="free some space, and resume with --resume"):
        trainer.save_model(str(aside))
        if is_main() and target_tokenizer is not None:
            target_tokenizer.save_pretrained(aside / DECODER_TOKENIZER)
    if is_main():
        # The pickled TrainingArguments, which nothing needs to load the model.
        (aside / "training_args.bin").unlink(missing_ok=True)
        shutil.rmtree(run.model, ignore_errors=True)
        aside.rename(run.model)
    from_first(True if is_main() else None)
