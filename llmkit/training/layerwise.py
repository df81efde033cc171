"""Layer-wise learning-rate decay: lower layers know more of the language and less of the task, so they change less.

The depths are BEiT's (Bao et al. 2022): the head has the whole rate, the last layer the decay times the rate, each
layer below it the decay times that of the layer above, and embeddings the least.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel

from llmkit.recipes.pretraining import TrainSection
from llmkit.system.errors import UserError


def stacks_of_layers(model: nn.Module) -> list[nn.ModuleList]:
    """The lists of a model's layers: of its encoder, and of its decoder if it has one. None is within another."""
    stacks: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(f"{stack}.") for stack in stacks):
            stacks[name] = module
    return list(stacks.values())


def depths(model: nn.Module) -> dict[str, int]:
    """How far below the head each parameter is, by name: 0 for the head and what else follows the layers, 1 for the
    last layer, and one more than the layers for embeddings.

    Embeddings are tables that are looked up, and modules whose name says that they belong to them, such as the norm of
    BERT's and the projection of ELECTRA's.
    """
    layers = [layer for stack in stacks_of_layers(model) for layer in _layers(stack)]
    depth_of = {
        parameter: len(layers) - number for number, layer in enumerate(layers) for parameter in layer.parameters()
    }
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) or "emb" in name.rpartition(".")[2]:
            for parameter in module.parameters():
                depth_of.setdefault(parameter, len(layers) + 1)
    return {name: depth_of.get(parameter, 0) for name, parameter in model.named_parameters()}


def _layers(stack: nn.ModuleList) -> Iterator[nn.Module]:
    """The layers of a stack from the bottom up. Funnel's stacks are of blocks, which are stacks themselves."""
    for layer in stack:
        if isinstance(layer, nn.ModuleList):
            yield from _layers(layer)
        else:
            yield layer


def rates_by_layer(train: TrainSection, model: PreTrainedModel) -> str:
    """What the learning rates of a model's layers are, in a sentence; empty if all are the same.

    Raises UserError if they are to differ and the model has no single stack of layers.
    """
    decay = train.layerwise_lr_decay
    if decay == 1:
        return ""
    kind = type(model).__name__
    if model.config.is_encoder_decoder:
        raise UserError(
            f"train.layerwise_lr_decay is for encoders: a {kind} has a decoder too",
            remedy="leave it out",
        )
    lowest = max(depths(model).values())
    if lowest < 2:
        raise UserError(f"train.layerwise_lr_decay finds no layers in a {kind}", remedy="leave it out")
    layers = f"{lowest - 1} layer{'s' * (lowest > 2)}"
    rates = [f"{train.learning_rate * decay**depth:.2g}" for depth in (0, 1, lowest - 1, lowest)]
    return (
        f"learning rate: {rates[0]} for the head, {rates[1]} for the last of {layers}, {rates[2]} for the first, "
        f"{rates[3]} for embeddings"
    )
