"""Which optimizer trains which parameter, and at which learning rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer
from transformers import TrainingArguments

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.errors import UserError
from llmkit.training.layerwise import depths, stacks_of_layers
from llmkit.training.muon import Muon

Groups = list[dict[str, Any]]


def optimizer_of(
    train: TrainSection, model: nn.Module, arguments: TrainingArguments, decayed: Collection[str]
) -> Optimizer | None:
    """The optimizer that a recipe asks for; None if that is the Trainer's own.

    `decayed` are the names of the parameters that weight decay applies to. Raises UserError.
    """
    if train.optim == "muon":
        return muon(model, arguments, decayed, train.layerwise_lr_decay)
    return adamw(model, arguments, decayed, train.layerwise_lr_decay) if train.layerwise_lr_decay < 1 else None


def adamw(model: nn.Module, arguments: TrainingArguments, decayed: Collection[str], layer_decay: float) -> Optimizer:
    """The Trainer's AdamW, with a learning rate for each layer."""
    return _adamw(_groups(model, _trained(model), arguments, decayed, layer_decay), arguments)


def muon(
    model: nn.Module, arguments: TrainingArguments, decayed: Collection[str], layer_decay: float = 1.0
) -> Optimizer:
    """Muon for the matrices of a model's layers, and the Trainer's AdamW for the rest.

    Muon computes in bf16 where the run does. Raises UserError if the model has no layers.
    """
    if not (matrices := matrices_of_layers(model, decayed)):
        raise UserError(f"Muon finds no layers in {type(model).__name__}", remedy="leave train.optim out")
    trained = _trained(model)
    parts = [
        {name: trained[name] for name in trained if (name in matrices) is in_layers} for in_layers in (True, False)
    ]
    groups, rest = (_groups(model, part, arguments, decayed, layer_decay) for part in parts)
    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    return Muon(groups, _adamw(rest, arguments), lr=arguments.learning_rate, dtype=dtype)


def _trained(model: nn.Module) -> dict[str, Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _groups(
    model: nn.Module,
    parameters: Mapping[str, Parameter],
    arguments: TrainingArguments,
    decayed: Collection[str],
    layer_decay: float,
) -> Groups:
    """Parameter groups with their weight decay and learning rate: the head's first, then from the last layer down."""
    depth_of = depths(model) if layer_decay < 1 else {}
    members: dict[tuple[int, bool], list[Parameter]] = defaultdict(list)
    for name, parameter in parameters.items():
        members[depth_of.get(name, 0), name not in decayed].append(parameter)
    return [
        {
            "params": members[depth, spared],
            "weight_decay": 0.0 if spared else arguments.weight_decay,
            "lr": arguments.learning_rate * layer_decay**depth,
        }
        for depth, spared in sorted(members)
    ]


def _adamw(groups: Groups, arguments: TrainingArguments) -> Optimizer:
    kind, settings = transformers.Trainer.get_optimizer_cls_and_kwargs(arguments)
    found: Optimizer = kind(groups, **settings)
    return found


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
