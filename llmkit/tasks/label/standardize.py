"""Train on standardized numbers, and save a model that outputs the user's own.

A price of 250,000 is far from the outputs of a fresh head, near 0: with steps of 1e-5, training would never arrive. So
the loss compares the output with (number - mean) / standard deviation, and outside training the output layer scales
back. Before the model is saved, both constants go into the layer's weights: any program that loads it gets the user's
unit. The layer computes in float32 under autocast too: bf16 cannot tell the year 2001 from 2004.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from llmkit.system.errors import UserError


class NumberOutput(nn.Linear):
    """A model's last layer. In training it outputs standardized numbers, otherwise numbers in the user's unit."""

    def __init__(self, layer: nn.Linear, mean: float, deviation: float) -> None:
        super().__init__(layer.in_features, layer.out_features, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.mean, self.deviation = mean, deviation
        self.train(layer.training)

    def scaled(self) -> tuple[Tensor, Tensor]:
        """The weight and bias that output the user's unit, in float32."""
        return self.deviation * self.weight.float(), self.deviation * self.bias.float() + self.mean

    def forward(self, states: Tensor) -> Tensor:
        """Numbers, [examples, 1], from the last hidden states, [examples, size]."""
        if self.training:
            return super().forward(states)
        with torch.autocast(states.device.type, enabled=False):
            return linear(states.float(), *self.scaled())


def standardize(model: PreTrainedModel, mean: float, deviation: float, *, trained: bool = False) -> None:
    """Let the model train on numbers of this mean and standard deviation.

    `trained` says that its output layer is already in the user's unit, and goes on from there. Raises UserError if the
    model has no output layer with a bias.
    """
    name = next((name for name, module in reversed(list(model.named_modules())) if _is_output(module)), None)
    if name is None:
        raise UserError(
            f"a {type(model).__name__} has no output layer with a bias, which numbers need",
            remedy="use another encoder, such as BERT",
        )
    layer = cast(nn.Linear, model.get_submodule(name))
    if trained:
        with torch.no_grad():
            layer.weight.div_(deviation)
            layer.bias.sub_(mean).div_(deviation)
    model.set_submodule(name, NumberOutput(layer, mean, deviation))


def unstandardize(model: PreTrainedModel) -> None:
    """Give the model a plain output layer that outputs the user's unit."""
    for name, module in list(model.named_modules()):
        if isinstance(module, NumberOutput):
            plain = nn.Linear(module.in_features, module.out_features, device="meta")
            weight, bias = module.scaled()
            plain.weight, plain.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
            model.set_submodule(name, plain.train(module.training))


def _is_output(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and module.out_features == 1 and module.bias is not None
