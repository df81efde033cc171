"""Where DistributedDataParallel lays gradients: the same place in every step, so that a resumed run sums as before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel


def settle_buckets(
    model: Any, batch: Callable[[], Mapping[str, torch.Tensor]], loss: Callable[..., torch.Tensor]
) -> None:
    """Make the wrapped model's first backward pass, on a batch, and throw its gradients away.

    After its first pass DistributedDataParallel lays the gradients out anew, in the order in which they came. The sum
    of three or more processes depends, in its last bits, on where a gradient lies: without this pass, the first step
    after a resume would sum in another order than the same step of a run that was not stopped.
    """
    if not isinstance(model, DistributedDataParallel):
        return
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        model.train()
        loss(model, {name: tensor.to(model.device) for name, tensor in batch().items()}).backward()
    model.zero_grad()
