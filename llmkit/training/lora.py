"""LoRA: small matrices beside those of the layers are trained, and the layers themselves stay as they are.

Hu et al., arXiv:2106.09685, through peft. The adapters are put into the model in place, so its class and its head are
what they are without them. Checkpoints hold the model with its adapters; the model that is saved has them added to its
matrices, and is plain.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from llmkit.models.checkpoint import Checkpoint
from llmkit.system.console import say, warn
from llmkit.system.errors import UserError
from llmkit.system.extras import need
from llmkit.training.layerwise import stacks_of_layers
from llmkit.training.sharding import sharding

LOW_RATE = 1e-4  # a learning rate below it is one for training all weights


def check_lora() -> None:
    """Raises UserError if peft is missing, or if the model is to be sharded. Reads no file."""
    need("lora", ["peft"])
    if sharding():
        raise UserError(
            "model.lora does not work with FSDP", remedy="leave FSDP out: with LoRA, a model needs less memory"
        )


def add_adapters(model: PreTrainedModel, checkpoint: Checkpoint, rank: int, learning_rate: float) -> None:
    """Put adapters of this rank beside all matrices of the layers, and train these and the head alone.

    Embeddings are trained too if the vocabulary of the `checkpoint` has grown: the new ones are random. An adapter's
    output is scaled by 2, whatever the rank. Says how much is trained. Raises UserError if layers are random or if the
    model has none.
    """
    if model.config.is_encoder_decoder and not checkpoint.config.is_encoder_decoder:
        raise UserError(
            f"model.lora: {checkpoint.name} is an encoder, so parts of the decoder's layers start from random weights, "
            "which adapters alone cannot train",
            remedy="leave model.lora out, or start from an encoder-decoder",
        )
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    layers = {module for stack in stacks_of_layers(model) for module in stack.modules()}
    targets = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module in layers]
    if not targets:
        raise UserError(f"model.lora finds no layers in a {type(model).__name__}", remedy="leave it out")
    embeddings: Any = model.get_input_embeddings()
    grown = embeddings.num_embeddings > getattr(checkpoint.config, "vocab_size", math.inf)
    still = {weight for stack in stacks_of_layers(model) for weight in stack.parameters()}
    still |= set() if grown else {weight for part in _embeddings(model) for weight in part.parameters()}
    heads = [weight for weight in model.parameters() if weight not in still]
    LoraModel(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), "default")
    for weight in heads:
        weight.requires_grad = True
    sizes = [weight.numel() for weight in model.parameters() if weight.requires_grad]
    total = sum(weight.numel() for weight in model.parameters())
    say(
        f"LoRA: rank {rank} beside {len(targets)} matrices of the layers; {sum(sizes) / 1e6:.2f} M of "
        f"{total / 1e6:.1f} M parameters are trained"
    )
    if learning_rate < LOW_RATE:
        warn(
            f"LoRA with train.learning_rate {learning_rate:g} learns little: about ten times the rate for training all "
            "weights is usual, 2e-4 to 1e-3"
        )


def merge_adapters(model: Any) -> None:
    """Add the adapters to the matrices that they stand beside. The model is then as it was without them."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    model.requires_grad_(requires_grad=True)


def _embeddings(model: nn.Module) -> list[nn.Module]:
    """Tables that are looked up, and modules whose name says that they belong to them."""
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) or "emb" in name.rpartition(".")[2]
    ]
