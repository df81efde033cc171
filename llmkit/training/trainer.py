"""transformers' Trainer with our batches, our evaluation, our checkpoints, and what it says on the way."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from llmkit.corpus.tokenizer import DECODER_TOKENIZER
from llmkit.system.console import is_main, say
from llmkit.system.errors import Stopped, UserError
from llmkit.system.files import libraries_writing
from llmkit.system.out_of_memory import OutOfMemory, is_out_of_memory, smaller_pieces
from llmkit.system.processes import Interrupted, from_first
from llmkit.system.run_folder import RunDir
from llmkit.training.batches import EpochBatches, Features, MaskedBlocks
from llmkit.training.checkpoints import evaluation_due, newest, prune, seal
from llmkit.training.evaluation import BestStep, Evaluation, Scored
from llmkit.training.reporting import Report
from llmkit.training.schedule import NEVER, Pace
from llmkit.training.signals import StopOnSignal

NAMED = 8  # examples, in an error


class Trainer(transformers.Trainer):
    """transformers' Trainer with batches in our order, our schedule and our evaluation."""

    def __init__(
        self,
        model: PreTrainedModel,
        arguments: TrainingArguments,
        *,
        data: MaskedBlocks | Features,
        batches: EpochBatches,
        collate: Callable[[Any], Any],
        evaluation: Evaluation,
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
        self._best = BestStep(evaluation, arguments)
        self._pace, self._report = pace, report
        # Old checkpoints go when the new one is known to be whole; the Trainer's own pruning is too early.
        self._keep, self.args.save_total_limit = keep, None
        self._first_bad: torch.Tensor | None = None
        self._stop = StopOnSignal()
        self._go_on = ""  # how to, once there is a run to go on with
        self._rows, self._shape = 1, (0, 0)  # of the examples of this step on this process, and of the micro-batch

    def go(self, run: RunDir, *, resume: bool, noted: Mapping[str, int]) -> None:
        """Train to the end, from the start or from the last whole checkpoint; then the best one's weights are loaded.

        `noted` is the first thing to log. Raises Stopped where a signal ended it before, and OutOfMemory.
        """
        checkpoint = newest(run.checkpoints) if resume else None
        step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
        if is_main() and resume:
            run.trim_log(step)
        if is_main() and noted:
            run.log({"step": step, **noted})
        if checkpoint is not None:
            self._pace.resume(checkpoint)
            self.args.eval_on_start = evaluation_due(checkpoint)
            say(f"resuming from {checkpoint}")
        self._go_on = f", and go on with --resume -o {run.path}"
        self.add_callback(self._stop)
        try:
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        except Interrupted:  # in the evaluation that was due at the start, which still is
            self._stop.stop(self.control, evaluation_due=True)
        finally:
            self._stop.leave()
        if self._stop.stopped_by is not None:
            later = "; its evaluation is made when the run goes on" if self._stop.evaluation_due else ""
            message = f"stopped after step {self.state.global_step:,}, which is saved{later}"
            raise Stopped(self._stop.stopped_by, message, run.path)

    def best(self) -> Scored:
        """The result of the best checkpoint, whose weights are loaded after `go`."""
        return self._best.result(self.state.best_global_step, self.network)

    def seconds_of_evaluation(self) -> float:
        """Estimate how long an evaluation takes."""
        return self._best.seconds(self.network)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's own. Raises OutOfMemory, with what makes the same step in less memory."""
        try:
            return super().train(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            rows, length = self._shape
            raise OutOfMemory(
                f"at step {self.state.global_step + 1:,}, on a micro-batch of {rows} × {length} tokens",
                error,
                smaller_pieces(self.args.per_device_train_batch_size, self.args.gradient_accumulation_steps),
                self._go_on,
            ) from error

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """An epoch; nothing where a run goes on that had made its last step, which the Trainer looks at too late."""
        if self._pace.share >= 1:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]

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
        rows, length = inputs["input_ids"].shape
        self._shape = (rows, length)
        return super().training_step(model, inputs, num_items_in_batch)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """The micro-batches of a step."""
        batches, targets = super().get_batch_samples(*args, **kwargs)
        self._rows = sum(len(batch["input_ids"]) for batch in batches)
        return batches, targets

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss, in which every example of a step weighs the same.

        Where it isn't divided by the step's targets it is a micro-batch's mean, and at the end of an epoch one may
        be smaller than the others.
        """
        loss: Any = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if num_items_in_batch is None:
            loss = loss * (len(inputs["input_ids"]) * self.current_gradient_accumulation_steps / self._rows)
        return loss

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
        try:
            super()._maybe_log_save_evaluate(tr_loss, grad_norm, *args, **kwargs)
        except (Interrupted, OutOfMemory) as error:
            # In the evaluation. What was trained until now is kept where all processes know of it.
            if isinstance(error, OutOfMemory) and self.args.world_size > 1:
                raise
            self._stop.stop(self.control, evaluation_due=True)
            self._save_checkpoint(self.network, None)
            self.control.should_save = False
            if isinstance(error, OutOfMemory):
                raise

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
        remedy = "make room, and go on from the checkpoint before it with --resume"
        with libraries_writing(f"checkpoint {checkpoint}", checkpoint, remedy=remedy):
            super()._save_checkpoint(model, trial)
            from_first(True if is_main() else None)  # all have written
            if is_main():
                seal(checkpoint, self._pace.seconds(), evaluation_due=self._stop.evaluation_due)
                best = self.state.best_model_checkpoint
                prune(folder, self._keep, Path(best) if best else None)
            from_first(True if is_main() else None)

    def _evaluate(self, trial: Any, ignored: Any, skip_scheduler: bool = False) -> dict[str, float]:
        """As the Trainer does; but of an evaluation at the start, which was due to the checkpoint that the run goes on
        from, it does not ask whether that is the best."""
        scores = super()._evaluate(trial, ignored, skip_scheduler)
        if self.args.eval_on_start and skip_scheduler and self._determine_best_metric(scores, trial):
            self.state.best_model_checkpoint = f"{self.args.output_dir}/checkpoint-{self.state.global_step}"
        return scores

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Scores of the model as it is now."""
        began = time.monotonic()
        try:
            headline = self._best.evaluate(self.state.global_step, self.network)
        except OutOfMemory as error:
            error.remedy += self._go_on
            raise
        scores = {f"{metric_key_prefix}_{name}": value for name, value in headline.items()}
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


def save_model(trainer: Trainer, run: RunDir, writer: PreTrainedTokenizerFast | None = None) -> None:
    """The finished model and its tokenizer, and that of what it writes, under run/model, whole or not at all."""
    aside = run.path / ".model.partial"
    if is_main():
        shutil.rmtree(aside, ignore_errors=True)
    from_first(True if is_main() else None)
    with libraries_writing(str(run.model), aside, remedy="make room, and go on with --resume"):
        trainer.save_model(str(aside))
        if is_main() and writer is not None:
            writer.save_pretrained(aside / DECODER_TOKENIZER)
    if is_main():
        # Pickled arguments of the Trainer: nothing that loads the model needs them.
        (aside / "training_args.bin").unlink(missing_ok=True)
        shutil.rmtree(run.model, ignore_errors=True)
        aside.rename(run.model)
    from_first(True if is_main() else None)
