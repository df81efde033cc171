"""Muon: the momentum of a matrix is made orthogonal before it is added, so all its directions move by as much.

Keller Jordan's Muon (https://kellerjordan.github.io/posts/muon) with the scale of Moonshot (arXiv:2502.16982): an
update is as large as one of AdamW, so both take the same learning rate and weight decay. `torch.optim.Muon` is the
same, but computes in bf16, which is slow on most CPUs, and takes the matrices one by one, which is slow on a GPU.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate
from torch.optim import Optimizer

MOMENTUM = 0.95
# Five steps of this polynomial bring all singular values but the smallest to between 0.7 and 1.2.
STEPS, COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
SCALE = 0.2  # the root mean square of AdamW's updates, in units of the learning rate
AT_ONCE = 2**24  # numbers in the matrices that are made orthogonal together


class Muon(Optimizer):
    """Muon for matrices and another optimizer for the rest, as one optimizer with one state.

    `matrices` are parameter groups of 2-D parameters, with their `weight_decay`, and their `lr` if it is not the given
    one. The groups of `others`, an optimizer of its own, follow them. `dtype` is what the orthogonal matrices are
    computed in.
    """

    def __init__(self, matrices: list[dict[str, Any]], others: Optimizer, *, lr: float, dtype: torch.dtype) -> None:
        self._others, self._dtype = others, dtype
        groups = [{"lr": lr, **group, "momentum": MOMENTUM} for group in matrices]
        super().__init__([*groups, *others.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change all parameters that have gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # What a checkpoint or a wrapper has replaced since the last step.
        self._others.state = self.state
        self._others.param_groups = [group for group in self.param_groups if "momentum" not in group]
        for group in self.param_groups:
            if "momentum" in group:
                self._step(group)
        self._others.step()
        return loss

    def _step(self, group: dict[str, Any]) -> None:
        alike: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                alike[tuple(parameter.shape)].append(parameter)
        for shape, parameters in alike.items():
            scale = SCALE * math.sqrt(max(shape))
            most = max(1, AT_ONCE // math.prod(shape))
            for start in range(0, len(parameters), most):
                some = parameters[start : start + most]
                directions = torch.stack([self._direction(parameter, group["momentum"]) for parameter in some])
                updates = orthogonal(directions.to(self._dtype)).to(some[0].dtype)
                for parameter, update in zip(some, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(_own_part(update, parameter), alpha=-group["lr"] * scale)

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """Nesterov's: the gradient and its running mean. Whole, where the parameter is sharded."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        direction = gradient.lerp(state["momentum_buffer"].lerp_(gradient, 1 - momentum), momentum)
        return direction.full_tensor() if isinstance(direction, DTensor) else direction


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices [N, rows, columns] with the same singular vectors, and singular values near 1: Newton–Schulz steps.

    A matrix of zeros stays one. In float32, the steps of a long matrix are taken on its small Gram matrix, whose
    polynomials they are: for four times as many columns as rows that is half the work. bf16 is too coarse for it.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonal(matrices.mT).mT
    matrices = matrices / torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    if matrices.dtype == torch.float32 and matrices.shape[-1] > 1.5 * matrices.shape[-2]:
        return _by_gram(matrices)
    for _ in range(STEPS):
        gram = matrices @ matrices.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        matrices = torch.baddbmm(matrices, polynomial, matrices, beta=a)
    return matrices


def _by_gram(matrices: Tensor) -> Tensor:
    gram = matrices @ matrices.mT
    product = polynomial = _polynomial(gram)
    for _ in range(STEPS - 1):
        gram = polynomial @ gram @ polynomial
        polynomial = _polynomial(gram)
        product = polynomial @ product
    return product @ matrices


def _polynomial(gram: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
    return polynomial


def _own_part(whole: Tensor, parameter: Tensor) -> Tensor:
    """This process's part of a whole tensor, if the parameter is sharded."""
    if not isinstance(parameter, DTensor):
        return whole
    mesh = parameter.device_mesh
    replicated = DTensor.from_local(whole, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return replicated.redistribute(mesh, parameter.placements)
