"""The FLOP of a training step, and the peak FLOP/s of the device."""

from __future__ import annotations

import re
import time
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# Dense bf16 FLOP/s from data sheets, by a part of the device's name; the first match counts.
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
GEMM_SIZE = 1024  # similar to a feed-forward layer, and fast enough to repeat
GEMM_SECONDS = 0.5


class FlopCounter:
    """Counts the FLOP of a model's training steps. As usual, only matrix products count.

    Those of relative positions (DeBERTa's) are left out, and attention is counted as if it were plain.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        config: Any = model.config
        encoder = model.get_encoder() if config.is_encoder_decoder else model.base_model
        pooler = getattr(encoder, "pooler", None)
        self._pooler_weights = _weights(pooler) if pooler is not None else 0
        # Those of the head, or of the decoder and its head.
        self._output_weights = _weights(model) - _weights(encoder)
        half = getattr(config, "encoder", config)
        self._encoder_weights = _weights(encoder) - self._pooler_weights + _weights_used_again(encoder, half)
        self._attention, self._local_attention, self._window = _attention(half)
        self._decoder_attention = sum(_attention(getattr(config, "decoder", config))[:2])

    def of(
        self,
        batch: int,
        length: int,
        *,
        tokens: int | None = None,
        rows: Tensor | None = None,
        targets: int | None = None,
        written: int = 0,
    ) -> float | Tensor:
        """FLOP of a forward and a backward pass over `batch` sequences of `length` tokens, including padding.

        tokens   those that go through the encoder's layers, by default all
        rows     lengths of what is computed apart from one another, by default whole sequences; integers that may be on
                 a GPU, and the result then too. Local attention is then computed within its window only
        targets  tokens that the head runs on, by default all
        written  tokens of each sequence that a decoder runs on
        """
        outputs = batch * written if written else batch * length if targets is None else targets
        computed = batch * length if tokens is None else tokens
        products = self._encoder_weights * computed + self._pooler_weights * batch + self._output_weights * outputs
        # Each decoder token attends to the tokens of the decoder and of the encoder.
        written_pairs = batch * written * (written + length)
        fixed = 3.0 * float(2 * products + 4 * self._decoder_attention * written_pairs)
        if rows is None:
            return fixed + 12.0 * (self._attention + self._local_attention) * batch * length**2
        pairs = self._attention * rows.square() + self._local_attention * _near(rows, self._window)
        return fixed + 12.0 * pairs.sum()


def _weights(module: nn.Module) -> int:
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))


def _weights_used_again(encoder: nn.Module, config: Any) -> int:
    """The weights of layers that run several times (ALBERT's), for each time but the first."""
    groups = getattr(config, "num_hidden_groups", None)
    if groups is None:
        return 0
    stacks = [part for part in encoder.modules() if isinstance(part, nn.ModuleList) and len(part) == groups]
    times: int = config.num_hidden_layers // groups
    return _weights(stacks[0]) * (times - 1)


def _attention(config: Any) -> tuple[int, int, int]:
    """The width of attention summed over layers that attend to everything and over local ones, and the latter's window.

    The window is how far a token sees to each side.
    """
    heads, size = config.num_attention_heads, getattr(config, "head_dim", None)
    width = heads * size if size else config.hidden_size
    local = (getattr(config, "layer_types", None) or ()).count("sliding_attention")
    return width * (config.num_hidden_layers - local), width * local, config.sliding_window if local else 0


def _near(rows: Tensor, window: int) -> Tensor:
    """The pairs of tokens at most `window` apart, in rows of these lengths."""
    within = rows.clamp(max=window + 1)
    return within.square() + (rows - within) * (2 * window + 1)


def peak_flops(device: torch.device, *, bf16: bool) -> float | None:
    """Peak FLOP/s of a device: measured on a CPU, from the data sheet on a GPU; None if unknown."""
    if device.type == "cpu":
        return _measured(torch.bfloat16 if bf16 else torch.float32)
    name = torch.cuda.get_device_name(device)
    if not bf16:
        return None
    return next((flops for part, flops in DATA_SHEETS.items() if re.search(rf"\b{part}\b", name)), None)


@cache  # --auto-batch tries several trainers in a process
def _measured(dtype: torch.dtype) -> float:
    a, b = (torch.randn(GEMM_SIZE, GEMM_SIZE).to(dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + GEMM_SECONDS
    while (began := time.perf_counter()) < end or best == float("inf"):
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * GEMM_SIZE**3 / best
