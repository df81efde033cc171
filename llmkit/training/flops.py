"""How much a training step computes, and how much this machine could compute in that time."""

from __future__ import annotations

import re
import time
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

# Dense bf16 FLOP/s of the makers' data sheets, by a part of the device's name; the first that fits counts.
DATA_SHEETS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10G": 70e12,
    "A10": 125e12,
}
GEMM_SIZE = 1024  # as in a feed-forward layer, and small enough to be repeated
GEMM_SECONDS = 0.5


class Work:
    """The floating-point operations of a model's training steps: those of its matrix products, as is usual."""

    def __init__(self, model: PreTrainedModel) -> None:
        config: Any = model.config
        reader = model.get_encoder() if config.is_encoder_decoder else model.base_model
        reading = {id(module) for module in reader.modules()}
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        self._reading: int = sum(module.weight.numel() for module in linear if id(module) in reading)
        # A head, or a decoder with its own.
        self._writing: int = sum(module.weight.numel() for module in linear if id(module) not in reading)
        halves = [getattr(config, half, config) for half in ("encoder", "decoder")]
        self._attention = [half.num_hidden_layers * half.hidden_size for half in halves]

    def of(self, batch: int, length: int, targets: int | None = None, written: int = 0) -> float:
        """FLOP of a forward and a backward pass over `batch` sequences of `length` tokens, padding included.

        A head runs on `targets` tokens, or on all; a decoder on the `written` tokens of each sequence.
        """
        tokens = batch * length
        encoder, decoder = self._attention
        outputs = batch * written if written else tokens if targets is None else targets
        # Each token of a decoder attends to what is written, and to what was read.
        attended = encoder * tokens * length + decoder * batch * written * (written + length)
        return 3.0 * float(2 * (self._reading * tokens + self._writing * outputs) + 4 * attended)


def peak(device: torch.device, *, bf16: bool) -> float | None:
    """FLOP/s of this process's device at its best: measured on a CPU, a data sheet's on a GPU; None if unknown."""
    if device.type == "cpu":
        return _measured(torch.bfloat16 if bf16 else torch.float32)
    name = torch.cuda.get_device_name(device)
    if not bf16:
        return None
    return next((flops for part, flops in DATA_SHEETS.items() if re.search(rf"\b{part}\b", name)), None)


def _measured(dtype: torch.dtype) -> float:
    a, b = (torch.randn(GEMM_SIZE, GEMM_SIZE).to(dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + GEMM_SECONDS
    while (began := time.perf_counter()) < end or best == float("inf"):
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * GEMM_SIZE**3 / best
