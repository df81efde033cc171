"""transformers' Trainer with our batches, schedule, evaluation, checkpoints and logging."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainingArguments

from llmkit.models.collator import to_device
from llmkit.recipes.pretraining import TrainSection
from llmkit.system.console import is_main, say
from llmkit.system.files import libraries_writing
from llmkit.system.out_of_memory import OutOfMemory, is_out_of_memory, smaller_micro_batch
from llmkit.system.processes import Interrupted, from_first, max_over_processes
from llmkit.system.run_folder import RunDir
from llmkit.tasks.distillation import loss_of
from llmkit.tasks.head import WeightedLoss
from llmkit.training.batches import WEIGHTLESS, EpochBatches, Features, MaskedBlocks, last_without_weight
from llmkit.training.buckets import settle_buckets
from llmkit.training.checkpoints import evaluation_due, newest, processes_of, prune, seal
from llmkit.training.ending_early import EndEarly
from llmkit.training.evaluation import BestStep, Evaluation, Scored
from llmkit.training.feeding import batch_loader
from llmkit.training.finite import FirstNotFinite, not_finite
from llmkit.training.optimizer import optimizer_of
from llmkit.training.reporting import TrainingLog
from llmkit.training.resuming import new_random_numbers
from llmkit.training.schedule import NEVER, Schedule, SetEpoch
from llmkit.training.sharding import parameters_of, restore_parameters, retied, shard
from llmkit.training.signals import StopOnSignal
from llmkit.training.stopping import STOPPED, runs_out, stopped_at


class Trainer(transformers.Trainer):
    """transformers' Trainer with our order of batches, schedule and evaluation.

    `train` made `arguments`. `loss` must divide by the number of targets that it is given. See EndEarly for `hopeless`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        arguments: TrainingArguments,
        *,
        data: MaskedBlocks | Features,
        batches: EpochBatches,
        collate: Callable[[Any], Any],
        evaluation: Evaluation,
        train: TrainSection,
        schedule: Schedule,
        log: TrainingLog,
        tokenizer: PreTrainedTokenizerFast,
        loss: Callable[..., torch.Tensor] | None = None,
        hopeless: Callable[[], bool] | None = None,
    ) -> None:
        self._early = EndEarly(hopeless, schedule)
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=data,
            eval_dataset=data,  # required, but unused: see `evaluate`
            data_collator=collate,
            processing_class=tokenizer,
            compute_loss_func=loss,
            callbacks=[SetEpoch(batches), schedule, log, self._early],
        )
        self._loss = loss
        shard(model, self.accelerator)
        if loss is not None:  # the model does not need the number of targets
            self.model_accepts_loss_kwargs = False
        self.remove_callback(transformers.trainer_callback.PrinterCallback)  # TrainingLog prints instead
        self.network, self.data, self.batches = model, data, batches
        self.max_eval_rows = evaluation.max_rows
        self._best = BestStep(evaluation, train.per_device_eval_batch_size, bf16=arguments.bf16)
        self._train, self._schedule, self._log = train, schedule, log
        self.args.save_total_limit = None  # we remove old checkpoints, once the new one is sealed
        self._bad, self._stop, self._resume_hint = FirstNotFinite(), StopOnSignal(), ""  # set once there is one
        self._shape = (0, 0)  # of the current micro-batch: examples, tokens

    def fit(
        self, run: RunDir, *, resume: bool, sizes: Mapping[str, int], chosen: bool = False, evaluate_first: bool = False
    ) -> None:
        """Train from the start or from the last checkpoint, then load the weights of the best checkpoint.

        With `evaluate_first`, the start is evaluated before the first step. The batch `sizes` are logged first if
        --auto-batch has `chosen` them, or if another number of processes wrote the checkpoint. Raises Stopped on a
        signal, EndedEarly, NotFinite and OutOfMemory.
        """
        checkpoint = newest(run.checkpoints) if resume else None
        step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
        if is_main() and resume:
            run.trim_log(step if checkpoint else -1)  # without a checkpoint the run starts anew
        moved = checkpoint is not None and self._by_others(checkpoint)
        if is_main() and (chosen or moved):
            run.log({"step": step, **({"processes": self.args.world_size} if moved else {}), **sizes})
        self.args.eval_on_start = evaluation_due(checkpoint) if checkpoint else evaluate_first
        if checkpoint is not None:
            self._schedule.resume(checkpoint)
            say(f"resuming from {checkpoint}")
        self._resume_hint = f", and resume with --resume -o {run.path}"
        self._log.start()  # before the clock of a time budget
        self.add_callback(self._stop)
        try:
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        except Interrupted:  # during an evaluation before the first step, which is still due
            self._stop.stop(self.control, evaluation_due=True)
        finally:
            self._log.stop()
            self._stop.restore()
        self._stop.raise_if_stopped(self.state.global_step, run.path)
        self._early.raise_if_ended(self.state.global_step, run.path)

    def best(self) -> Scored:
        """The result of the best checkpoint, whose weights `fit` loaded."""
        return self._best.result(self.state.best_global_step, self.network)

    def seconds_of_evaluation(self) -> float:
        """Estimate how long an evaluation takes."""
        return self._best.seconds(self.network)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer. Raises OutOfMemory, with batch sizes that need less memory for the same steps."""
        try:
            return super().train(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            rows, length = self._shape
            raise OutOfMemory(
                f"at step {self.state.global_step + 1:,}, on a micro-batch of {rows} × {length} tokens",
                error,
                smaller_micro_batch(self.args.per_device_train_batch_size, self.args.gradient_accumulation_steps),
                self._resume_hint,
            ) from error

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Run one epoch, unless nothing is left to do for a resumed run; the Trainer checks too late."""
        if self._schedule.share >= 1 or self._early.ended or stopped_at(self.state) is not None:
            self.control.should_training_stop = True
        else:
            if kwargs["epoch"] == kwargs["epochs_trained"]:  # the first of this process
                loss = partial(self.compute_loss, num_items_in_batch=1)
                data: Any = self.data
                settle_buckets(kwargs["model"], lambda: self.data_collator(data.__getitems__([0])), loss)
            super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches in our order; accelerate distributes them over processes, `get_batch_samples` over devices."""
        workers, ahead = self.args.dataloader_num_workers, self.args.gradient_accumulation_steps
        loader = batch_loader(self.data, self.batches, self.data_collator, workers=workers, ahead=ahead)
        return self.accelerator.prepare(loader, device_placement=[False])  # type: ignore[no-any-return]

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer, which is for AdamW with one learning rate; or the one that the recipe asks for."""
        if self.optimizer is None:
            decayed = self.get_decay_parameter_names(self.network)
            self.optimizer = optimizer_of(self._train, self.network, self.args, decayed)
        optimizer = super().create_optimizer(*args, **kwargs)
        self._parameters = parameters_of(optimizer)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """The learning rate of our schedule. The Trainer calls it when accelerate has prepared the optimizer."""
        if self.accelerator.is_fsdp2:
            assert self.optimizer is not None
            restore_parameters(self.optimizer, self._parameters)
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                lambda step: self._schedule.learning_rate_factor(step, num_training_steps),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_learning_rate(self) -> float:
        """That of the head, if each layer has its own."""
        return float(max(self.lr_scheduler.get_last_lr()))  # type: ignore[union-attr]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """As in Trainer; also counts tokens."""
        self._log.add(inputs)
        self._shape = inputs["input_ids"].shape
        return super().training_step(model, inputs, num_items_in_batch)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Any:
        """As in Trainer; also copies the batches to the device, and marks a micro-batch that only fills up the step."""
        copied: Iterator[Any] = map(partial(to_device, device=device), epoch_iterator)
        if self.batches.fills_up(self.state.global_step, self.args.process_index):
            copied = last_without_weight(copied, num_batches)
        samples, targets = super().get_batch_samples(copied, num_batches, device)
        if isinstance(self._loss, WeightedLoss) and samples:
            targets = self.accelerator.gather(self._loss.weight_of([batch["labels"] for batch in samples])).sum()
        return samples, targets

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """As in Trainer; our loss function also gets the inputs, and a micro-batch that fills up has no weight."""
        weightless = inputs.pop(WEIGHTLESS, False)
        if self._loss is not None:
            self.compute_loss_func = loss_of(self._loss, inputs)
        loss: Any = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return loss * 0.0 if weightless else loss

    def _maybe_log_save_evaluate(self, tr_loss: Any, grad_norm: Any, *args: Any, **kwargs: Any) -> None:
        """As in Trainer, but raises NotFinite if a loss or gradient is not finite, before it is logged or saved."""
        self._bad.look_at(self.state.global_step, tr_loss, grad_norm)
        due = self.control.should_log or self.control.should_evaluate or self.control.should_save
        # The loss of one process may not be finite: all must stop.
        if due and (step := -int(max_over_processes(-self._bad.read()))) < NEVER:
            raise not_finite(step, self.names_of(step), Path(str(self.args.output_dir)))
        try:
            super()._maybe_log_save_evaluate(tr_loss, grad_norm, *args, **kwargs)
        except (Interrupted, OutOfMemory) as error:
            # The evaluation stopped: save this step, unless only one of several processes ran out of memory.
            if isinstance(error, OutOfMemory) and self.args.world_size > 1:
                raise
            self._stop.stop(self.control, evaluation_due=True)
            self._save_checkpoint(self.network, None)
            self.control.should_save = False
            if isinstance(error, OutOfMemory):
                raise

    def names_of(self, step: int) -> list[str]:
        """The names of the items of a step, counted from 1, on all processes."""
        return [self.data.name(item) for item in self.batches.items_of(step - 1)]

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """As in Trainer, but with new random numbers where other processes wrote the checkpoint."""
        if checkpoint is not None and self._by_others(Path(checkpoint)):
            new_random_numbers(self.args.seed, self.state.global_step, self.args.process_index)
        else:
            super()._load_rng_state(checkpoint)

    def _by_others(self, checkpoint: Path) -> bool:
        """Whether another number of processes wrote a checkpoint. They left their random states, not ours."""
        return processes_of(checkpoint) not in (None, self.args.world_size)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As in Trainer, but atomic: seal the checkpoint, then remove older ones."""
        folder = Path(str(self.args.output_dir))
        checkpoint = folder / f"checkpoint-{self.state.global_step}"
        remedy = "free some space, and --resume from the checkpoint before it"
        with libraries_writing(f"checkpoint {checkpoint}", checkpoint, remedy=remedy):
            super()._save_checkpoint(model, trial)
            from_first(True if is_main() else None)  # wait until all processes have written
            if is_main():
                best = Path(name) if (name := self.state.best_model_checkpoint) else None
                seal(
                    checkpoint,
                    self._schedule.seconds(),
                    evaluation_due=self._stop.evaluation_due,
                    processes=self.args.world_size,
                    stable=self._schedule.stable,
                    best=best,
                )
                prune(folder, self._train.save_total_limit, best)
            from_first(True if is_main() else None)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """As in Trainer, but tied weights of a sharded model are written once."""
        super()._save(output_dir, retied(self.network, state_dict) if state_dict else state_dict)

    def _evaluate(self, trial: Any, ignored: Any, skip_scheduler: bool = False) -> dict[str, float]:
        """As in Trainer, but an evaluation that a resumed run still owed may also become the best, unless of step 0."""
        scores = super()._evaluate(trial, ignored, skip_scheduler)
        owed = self.args.eval_on_start and skip_scheduler and self.state.global_step
        if owed and self._determine_best_metric(scores, trial):
            self.state.best_model_checkpoint = f"{self.args.output_dir}/checkpoint-{self.state.global_step}"
        return scores

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """As in Trainer; also stop early if there were enough evaluations since the best one."""
        is_best = super()._determine_best_metric(metrics, trial)
        metric, patience = str(self.args.metric_for_best_model), self._train.early_stopping_patience
        if self._schedule.share < 1 and runs_out(self.state, metric, patience):
            self.log({STOPPED: True, "best_step": self.state.best_global_step})  # type: ignore[dict-item]
            self.control.should_training_stop = True
        return is_best

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Score the current model with our evaluation, and log the headline scores."""
        began = time.monotonic()
        try:
            headline = self._best.evaluate(self.state.global_step, self.network)
        except OutOfMemory as error:
            error.remedy += self._resume_hint
            raise
        scores = {f"{metric_key_prefix}_{name}": value for name, value in headline.items()}
        self.log({**scores, f"{metric_key_prefix}_runtime": time.monotonic() - began})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return scores
