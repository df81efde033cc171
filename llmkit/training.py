"""Recipe → transformers' Trainer: its arguments, our batches, our evaluation, what it says on the way."""

from __future__ import annotations

import errno
import math
import shutil
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.batching import EpochBatches, Features, MaskedBlocks
from llmkit.checkpoints import newest, prune, seal
from llmkit.console import is_main, say
from llmkit.corpus.vocabulary import DECODER_TOKENIZER
from llmkit.errors import Stopped, UserError
from llmkit.machine import choose, keep_memory, quiet
from llmkit.pace import NEVER, Pace
from llmkit.processes import from_first, world_size
from llmkit.recipe import TrainSection
from llmkit.report import Report
from llmkit.rundir import RunDir
from llmkit.stopping import StopOnSignal

NAMED = 8  # examples, in an error
Assess = Callable[[PreTrainedModel], dict[str, float]]


def training_arguments(train: TrainSection, run: RunDir, *, metric: str, higher_is_better: bool) -> TrainingArguments:
    """The Trainer's arguments. With several processes this starts the process group: data comes before it.

    Raises UserError where the processes that a launcher promised do not find each other.
    """
    keep_memory()
    quiet()
    choice = choose(train.bf16)
    say(f"computing on {choice.why}")
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        use_cpu=not torch.cuda.is_available(),
        bf16=choice.bf16,
        torch_compile=train.torch_compile,
        num_train_epochs=train.num_train_epochs or 1,
        max_steps=train.max_steps or (NEVER if train.time_budget else -1),
        per_device_train_batch_size=train.per_device_train_batch_size,
        per_device_eval_batch_size=train.per_device_eval_batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        adam_beta1=train.adam_beta1,
        adam_beta2=train.adam_beta2,
        adam_epsilon=train.adam_epsilon,
        max_grad_norm=train.max_grad_norm,
        seed=train.seed,
        dataloader_num_workers=train.dataloader_num_workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        eval_strategy="steps",
        eval_steps=NEVER,
        save_strategy="steps",
        save_steps=NEVER,
        logging_steps=NEVER,
        logging_nan_inf_filter=False,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=higher_is_better,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
        log_level_replica="error",
    )
    if arguments.world_size != world_size():
        raise UserError(
            f"{world_size()} processes were started and {arguments.world_size} found each other",
            remedy="start them with -n, torchrun or accelerate launch, and look for an earlier error above",
        )
    return arguments


class Trainer(transformers.Trainer):
    """transformers' Trainer with batches in our order, our schedule, and `assess(model)` as its evaluation.

    `assess` returns the same flat scores on every process.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        arguments: TrainingArguments,
        *,
        data: MaskedBlocks | Features,
        batches: EpochBatches,
        collate: Callable[[Any], Any],
        assess: Assess,
        pace: Pace,
        report: Report,
        keep: int,
        tokenizer: PreTrainedTokenizerFast,
        loss: Callable[..., torch.Tensor] | None = None,
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=data,
            eval_dataset=data,  # asked for, and not used: `evaluate` is ours
            data_collator=collate,
            processing_class=tokenizer,
            compute_loss_func=loss,
            callbacks=[OrderByEpoch(batches), pace, report],
        )
        if loss is not None:  # which divides by the number of targets; the model need not know it
            self.model_accepts_loss_kwargs = False
        # The Trainer's own printing of every report; ours takes its place.
        self.remove_callback(transformers.trainer_callback.PrinterCallback)
        self.network, self.data, self.batches = model, data, batches
        self._assess, self._pace, self._report = assess, pace, report
        # Old checkpoints go when the new one is known to be whole; the Trainer's own pruning is too early.
        self._keep, self.args.save_total_limit = keep, None
        self._first_bad: torch.Tensor | None = None

    def go(self, run: RunDir, *, resume: bool) -> None:
        """Train to the end, from the start or from the last whole checkpoint; then the best one's weights are loaded.

        Raises Stopped where a signal ended it before.
        """
        checkpoint = newest(run.checkpoints) if resume else None
        if is_main() and resume:
            run.trim_log(int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
        if checkpoint is not None:
            self._pace.resume(checkpoint)
            say(f"resuming from {checkpoint}")
        stop = StopOnSignal()
        self.add_callback(stop)
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        if stop.stopped_by is not None:
            raise Stopped(stop.stopped_by, f"stopped after step {self.state.global_step:,}, which is saved", run.path)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches in our order, shared out among processes by accelerate."""
        loader: DataLoader[Any] = DataLoader(
            self.data,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """The recipe's schedule, over steps or over time."""
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                lambda step: self._pace.learning_rate_factor(step, num_training_steps),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """One micro-batch; its tokens are counted, padding apart."""
        self._report.see(inputs)
        return super().training_step(model, inputs, num_items_in_batch)

    def _maybe_log_save_evaluate(self, tr_loss: Any, grad_norm: Any, *args: Any, **kwargs: Any) -> None:
        """After a step: see that its numbers are numbers, before anything of it is reported or saved.

        Whether they are is kept where they are, and asked for when something is due: to ask a GPU makes it wait.
        """
        step = float(self.state.global_step)
        for value in (tr_loss, grad_norm):
            if isinstance(value, torch.Tensor):
                bad = torch.where(torch.isfinite(value), NEVER, step).squeeze()
                self._first_bad = bad if self._first_bad is None else torch.minimum(self._first_bad, bad)
        due = self.control.should_log or self.control.should_evaluate or self.control.should_save
        if due and self._first_bad is not None and self._first_bad < NEVER:
            raise self._bad_numbers(int(self._first_bad))
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, *args, **kwargs)

    def _bad_numbers(self, step: int) -> UserError:
        names = self.names_of(step)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return UserError(
            f"the loss or its gradient is no finite number any more, first at step {step:,}",
            f"that step's examples: {', '.join(names[:NAMED])}{more}",
            remedy="look at these; or lower train.learning_rate, lengthen train.warmup_steps, set train.bf16=false, "
            f"and start again, or go on with --resume from the last checkpoint in {self.args.output_dir}",
        )

    def names_of(self, step: int) -> list[str]:
        """What a step, counted from 1, is made on, on all processes."""
        batches = self.args.gradient_accumulation_steps * self.args.world_size
        self.batches.epoch, number = divmod(step - 1, steps_an_epoch(self.batches, self.args))
        chosen = islice(self.batches, number * batches, (number + 1) * batches)
        return [self.data.name(item) for batch in chosen for item in batch]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint, whole or not at all; older ones go when it is whole."""
        folder = Path(str(self.args.output_dir))
        checkpoint = folder / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            from_first(True if is_main() else None)  # all have written
            if is_main():
                seal(checkpoint, self._pace.seconds())
                best = self.state.best_model_checkpoint
                prune(folder, self._keep, Path(best) if best else None)
            from_first(True if is_main() else None)
        except (OSError, RuntimeError, SafetensorError) as error:
            if not _is_about_writing(error):
                raise
            shutil.rmtree(checkpoint, ignore_errors=True)
            raise UserError(
                f"checkpoint {checkpoint} cannot be written: {error}",
                remedy="make room, and go on from the checkpoint before it with --resume",
            ) from error

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Scores of the model as it is now."""
        began = time.monotonic()
        scores = {f"{metric_key_prefix}_{name}": value for name, value in self._assess(self.network).items()}
        self.log({**scores, f"{metric_key_prefix}_runtime": time.monotonic() - began})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return scores


def steps_an_epoch(batches: EpochBatches, arguments: TrainingArguments) -> int:
    """Optimizer steps until every item was seen once."""
    steps: int = math.ceil(math.ceil(len(batches) / arguments.world_size) / arguments.gradient_accumulation_steps)
    return steps


class OrderByEpoch(TrainerCallback):
    """Tells the batches which epoch it is: after a resume too, and with any number of processes, where the
    wrappers around a sampler do not always pass it on."""

    def __init__(self, batches: EpochBatches) -> None:
        self._batches = batches

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Epochs are counted by steps: the Trainer's own count is a float."""
        self._batches.epoch = state.global_step // steps_an_epoch(self._batches, args)


def _is_about_writing(error: Exception) -> bool:
    """Whether an error of the libraries that write checkpoints means a full or read-only disk: each has its own."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
    told = ("PytorchStreamWriter", "inline_container", "file write failed", "os error", "I/O error")
    return any(words in str(error) for words in told)


def save_model(trainer: Trainer, run: RunDir, writer: PreTrainedTokenizerFast | None = None) -> None:
    """The finished model and its tokenizer, and that of what it writes, under run/model, whole or not at all."""
    aside = run.path / ".model.partial"
    if is_main():
        shutil.rmtree(aside, ignore_errors=True)
    from_first(True if is_main() else None)
    trainer.save_model(str(aside))
    if is_main():
        # Pickled arguments of the Trainer: nothing that loads the model needs them.
        (aside / "training_args.bin").unlink(missing_ok=True)
        if writer is not None:
            writer.save_pretrained(aside / DECODER_TOKENIZER)
        shutil.rmtree(run.model, ignore_errors=True)
        aside.rename(run.model)
    from_first(True if is_main() else None)
