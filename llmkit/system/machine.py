"""What this machine can do, and what is chosen for it: precision, threads, the allocator."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from llmkit.system.hub import commits
from llmkit.system.processes import world_size

LIBRARIES = ("torch", "transformers", "datasets", "tokenizers", "accelerate", "evaluate", "numpy", "pyarrow")


@dataclass(frozen=True)
class Choice:
    """What a run computes on, and why in words."""

    device: str
    bf16: bool
    threads: int
    why: str


def choose(bf16: bool | Literal["auto"]) -> Choice:
    """Device, precision and threads for this process."""
    import torch

    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        device = torch.cuda.get_device_name(0)
    else:
        # Autocast to bf16 without such instructions is emulated, and many times slower than fp32.
        able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        device = f"CPU, {torch.get_num_threads()} threads"
    use = able if bf16 == "auto" else bf16
    if bf16 == "auto":
        reason = "the hardware computes in it" if able else "no bf16 instructions here"
    else:
        reason = "as the recipe says"
    return Choice(device, use, torch.get_num_threads(), f"{device}; {'bf16' if use else 'fp32'} ({reason})")


def keep_memory() -> None:
    """Keep glibc from giving large activations back to the kernel and faulting them in again at every step.

    By default it does so for every block of over 32 MB, and a CPU training step takes up to four times as
    long. Does nothing where there is no mallopt.
    """
    if mallopt := _of_glibc("mallopt"):
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


def give_memory_back() -> None:
    """Give the kernel back what nothing uses any more, which `keep_memory` keeps: others than glibc may need it."""
    if malloc_trim := _of_glibc("malloc_trim"):
        malloc_trim(0)


def _of_glibc(name: str) -> Any:
    """A function of glibc's, or None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None


def quiet() -> None:
    """Keep the libraries' bars and notes off the screen: what matters of them is said by us."""
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()


def hardware() -> dict[str, Any]:
    """What there is, for env.json and doctor."""
    import psutil
    import torch

    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def versions() -> dict[str, str]:
    """Versions of Python, llmkit and what it stands on."""
    return {
        "python": platform.python_version(),
        "llmkit": version("llmkit"),
        **{library: version(library) for library in LIBRARIES},
    }


def environment(data: Mapping[str, Any], sizes: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """What env.json says of a run: command line, versions, hardware, processes, fingerprints and sizes of its data,
    and at which commits the Hub's repositories stood that it asked for."""
    return {
        "command": sys.argv,
        "versions": versions(),
        "hardware": hardware(),
        "processes": world_size(),
        "data": dict(data),
        "sizes": {split: dict(size) for split, size in sizes.items()},
        "hub": commits(),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
