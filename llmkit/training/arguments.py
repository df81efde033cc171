"""From a recipe to the TrainingArguments of transformers."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.errors import UserError
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.processes import world_size
from llmkit.system.run_folder import RunDir
from llmkit.training.feeding import workers
from llmkit.training.schedule import NEVER
from llmkit.training.sharding import shard_on_cpus

# transformers 5.17 knows only the older name, later versions deprecate it.
CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in {field.name for field in fields(TrainingArguments)}
)


def check_checkpointing(train: TrainSection, model: PreTrainedModel) -> None:
    """Raises UserError if the recipe asks for activations to be computed again, which this model cannot."""
    if train.activation_checkpointing and not model.supports_gradient_checkpointing:
        raise UserError(
            f"train.activation_checkpointing: transformers has none for {model.config.model_type} models",
            remedy="leave it out; --auto-batch finds a micro-batch that fits in memory",
        )


def training_arguments(train: TrainSection, run: RunDir, *, metric: str, higher_is_better: bool) -> TrainingArguments:
    """The Trainer's arguments. With several processes this starts the process group, so load the data first.

    Raises UserError if the processes that the launcher announced do not find each other.
    """
    keep_memory()
    quiet()
    choice = choose(train.bf16)
    checkpointing: dict[str, Any] = {
        CHECKPOINTING: train.activation_checkpointing,
        f"{CHECKPOINTING}_kwargs": {"use_reentrant": False},  # the other kind is deprecated by torch
    }
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        use_cpu=not torch.cuda.is_available(),
        bf16=choice.bf16,
        torch_compile=train.torch_compile,
        tf32=False if train.bf16 is False and torch.cuda.is_available() else None,  # torch_compile would turn it on
        **checkpointing,
        num_train_epochs=train.num_train_epochs or 1,
        max_steps=train.max_steps or (NEVER if train.time_budget else -1),
        per_device_train_batch_size=train.per_device_train_batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        adam_beta1=train.adam_beta1,
        adam_beta2=train.adam_beta2,
        adam_epsilon=train.adam_epsilon,
        max_grad_norm=train.max_grad_norm,
        seed=train.seed,
        dataloader_num_workers=workers(train.dataloader_num_workers),
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
    if world_size() == 1 and arguments.device.type == "cuda":  # `device` counts the GPUs
        # The Trainer would copy the model to each of them (nn.DataParallel), and split the tensors of packed batches.
        arguments._n_gpu = 1
    if arguments.world_size != world_size():
        raise UserError(
            f"{world_size()} processes were started and {arguments.world_size} found each other",
            remedy="start them with -n, torchrun or accelerate launch, and look for an earlier error above",
        )
    shard_on_cpus(arguments)
    return arguments
