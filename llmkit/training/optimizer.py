"""Which optimizer trains which parameter."""

from __future__ import annotations

from collections.abc import Collection

import torch
import transformers
from torch import nn
from torch.optim import Optimizer
from transformers import TrainingArguments

from llmkit.training.muon import Muon


def muon(model: nn.Module, arguments: TrainingArguments, decayed: Collection[str]) -> Optimizer:
    """Muon for the matrices of a model's layers, and the Trainer's AdamW for the rest.

    `decayed` are the names of the parameters that weight decay applies to. Muon computes in bf16 where the run does.
    """
    matrices = matrices_of_layers(model, decayed)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    rest = {name: parameter for name, parameter in trained.items() if name not in matrices}
    kind, settings = transformers.Trainer.get_optimizer_cls_and_kwargs(arguments)
    others = kind(
        [
            {"params": [rest[name] for name in rest if name in decayed], "weight_decay": arguments.weight_decay},
            {"params": [rest[name] for name in rest if name not in decayed], "weight_decay": 0.0},
        ],
        **settings,
    )
    group = {"params": [trained[name] for name in trained if name in matrices], "weight_decay": arguments.weight_decay}
    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    return Muon([group], others, lr=arguments.learning_rate, dtype=dtype)


def matrices_of_layers(model: nn.Module, decayed: Collection[str]) -> set[str]:
    """The names of the matrices that layers multiply by: all of two dimensions but embeddings and biases.

    An embedding's rows are used one at a time, and a bias is added: as matrices they mean nothing.
    """
    embedded = {
        parameter for module in model.modules() if isinstance(module, nn.Embedding) for parameter in module.parameters()
    }
    in_layers = {parameter for stack in stacks_of_layers(model) for parameter in stack.parameters()} - embedded
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter in in_layers and parameter.ndim == 2 and name in decayed
    }


def stacks_of_layers(model: nn.Module) -> list[nn.ModuleList]:
    """The lists of a model's layers: of its encoder, and of its decoder if it has one. None is within another."""
    stacks: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(f"{stack}.") for stack in stacks):
            stacks[name] = module
    return list(stacks.values())
