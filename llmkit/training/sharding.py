"""Sharding: weights, gradients and optimizer state divided among the processes, by accelerate's FSDP2.

It is asked for in accelerate's own way: by `accelerate launch --config_file`, or by the environment variables that it
sets, under any launcher. One configuration gives the weights that the same processes give without it, saves a whole
model and resumes exactly. The others are refused before anything is loaded: they fail late, or save nothing.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.errors import UserError
from llmkit.system.processes import launched
from llmkit.system.run_folder import RunDir
from llmkit.training.checkpoints import SEAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accelerate import Accelerator
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer
    from transformers import PreTrainedModel, TrainingArguments

WORKS = "FSDP2 with FULL_STATE_DICT works: FSDP_VERSION=2 FSDP_STATE_DICT_TYPE=FULL_STATE_DICT (docs/guide/gpus.md)"
# What accelerate writes into a checkpoint beside the weights that transformers reads.
SHARDED_WEIGHTS = "pytorch_model_fsdp.bin"
OTHERS = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config (tensor, context or sequence parallelism)",
}
# Options of FSDP2 that would give other results, or that were never tried.
OPTIONS = {
    "FSDP_ACTIVATION_CHECKPOINTING": "activation checkpointing by FSDP, which draws other dropout when it recomputes",
    "FSDP_OFFLOAD_PARAMS": "FSDP that offloads parameters",
}


def sharding() -> bool:
    """Whether accelerate shards the model in this process: FSDP is asked for, and a launcher started the process."""
    return _on("ACCELERATE_USE_FSDP") and launched()


def check_sharding(train: TrainSection, *, auto_batch: bool) -> None:
    """Raises UserError if a kind of sharding, or an option of the run beside it, does not work. Reads no file."""
    for variable, what in OTHERS.items():
        if _on(variable):
            raise _refused(what)
    if not _on("ACCELERATE_USE_FSDP"):
        return
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise _refused(f"FSDP{version}")
    saved_as = os.environ.get("FSDP_STATE_DICT_TYPE", "SHARDED_STATE_DICT").upper()
    if saved_as != "FULL_STATE_DICT":
        raise _refused(f"FSDP2 with {saved_as}")
    for variable, what in OPTIONS.items():
        if _on(variable):
            raise _refused(what)
    if train.torch_compile or os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        raise UserError("a sharded model cannot be compiled", remedy="leave torch_compile out, or FSDP")
    if auto_batch:
        raise UserError(
            "--auto-batch does not work with FSDP: a process that runs out of memory leaves the others waiting",
            remedy="give the batch sizes yourself",
        )


def check_same_sharding(run: RunDir) -> None:
    """Raises UserError if the run to resume was sharded and is not any more, or the other way round."""
    # A run that is killed while it saves may have the weights without what accelerate writes after them.
    checkpoints = [seal.parent for seal in run.checkpoints.glob(f"checkpoint-*/{SEAL}")]
    before = any((path / SHARDED_WEIGHTS).is_file() for path in checkpoints)
    if checkpoints and before is not sharding():
        with_or_without = "with" if before else "without"
        raise UserError(f"{run.path} was started {with_or_without} FSDP", remedy=f"resume it {with_or_without} FSDP")


def shard_on_cpus(arguments: TrainingArguments) -> None:
    """Make accelerate shard on CPUs too, where it would ignore FSDP without a word.

    It knows FSDP for kinds of accelerators only. The kind decides nothing else once the process group exists.
    """
    from accelerate.utils import DistributedType

    state = arguments.distributed_state
    if sharding() and state is not None and state.distributed_type is DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


def shard(model: PreTrainedModel, accelerator: Accelerator) -> None:
    """Shard a model in place, if FSDP is asked for. Call it before the optimizer is made.

    A layer is gathered at a time, and what is left over (embeddings, head) once a pass. accelerate would do the same,
    but puts BERT's tied weights and biases into two groups, which torch refuses; and it would sum gradients over the
    processes in bf16, where autocast alone gives what it gives without sharding.
    """
    if not accelerator.is_fsdp2:
        return
    from torch.distributed.fsdp import fully_shard

    from llmkit.training.layerwise import stacks_of_layers

    accelerator.prepare_model(model, device_placement=False, evaluation_mode=True)  # autocast, and nothing else
    # Some models return a view of what they computed, which nothing changes in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
    for stack in stacks_of_layers(model):
        for layer in stack:
            fully_shard(layer)
    fully_shard(model)
    # Done: accelerate would look for layers to wrap by the names that their classes had before.
    accelerator.state.fsdp_plugin.auto_wrap_policy = None


def parameters_of(optimizer: Optimizer) -> list[list[Parameter]]:
    """The parameters of an optimizer, by its groups."""
    return [list(group["params"]) for group in optimizer.param_groups]


def restore_parameters(optimizer: Optimizer, groups: list[list[Parameter]]) -> None:
    """Give an optimizer the parameters again that it had before accelerate prepared it.

    accelerate tells parameters apart by their address. Those that have no part in this process, such as a bias of two
    numbers in the third one, all have the address 0.
    """
    for group, parameters in zip(optimizer.param_groups, groups, strict=True):
        group["params"] = parameters


def retied(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gathered weights of a sharded model, where tied ones are one tensor again, as transformers expects."""
    first: dict[Parameter, str] = {}
    shared = {name: first.setdefault(weight, name) for name, weight in model.named_parameters(remove_duplicate=False)}
    return {name: weights[shared.get(name, name)] for name in weights}


def _on(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() == "true"


def _refused(what: str) -> UserError:
    return UserError(f"{what} is not supported", remedy=f"{WORKS}, or no sharding at all")
