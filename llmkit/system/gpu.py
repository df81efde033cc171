"""How a GPU computes: its allocator, its kernels, its precision, and whether it repeats a result to the bit."""

from __future__ import annotations

import os
from typing import Literal

ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


def set_up(bf16: bool | Literal["auto"], *, deterministic: bool | None = None) -> None:
    """Choose settings for the GPU of this process, before CUDA starts. Does nothing without one.

    Products that stay in fp32 use TF32, but with bf16=False they stay exact. `deterministic` turns torch's
    deterministic kernels on or off; None leaves them as they are.
    """
    import torch

    if not torch.cuda.is_available():
        return
    if not any(name in os.environ for name in ALLOCATOR):
        # Micro-batches differ in size: with fixed segments, the memory between them is lost to fragments.
        os.environ[ALLOCATOR[0]] = "expandable_segments:True"
    # cuDNN's attention makes a plan for every new shape, which takes longer than hundreds of steps save.
    torch.backends.cuda.enable_cudnn_sdp(False)
    # This call keeps torch's two APIs for it in step; after the newer one alone, reading the older one is an error.
    torch.set_float32_matmul_precision("highest" if bf16 is False else "high")
    if deterministic is not None:
        # Not with warn_only: FlashAttention's backward pass, which adds in any order otherwise, would only warn too.
        torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        # No result depends on such memory, and filling it is slow. The name is a property of the module's class.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, cuBLAS may sum in another order
