"""Detect the hardware, and choose precision, threads and allocator settings for it."""

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

LIBRARIES = ("torch", "transformers", "datasets", "tokenizers", "accelerate", "numpy", "pyarrow")


@dataclass(frozen=True)
class Choice:
    """The device, precision and threads of a run. `why` describes the choice in words."""

    device: str
    bf16: bool
    threads: int
    why: str


def choose(bf16: bool | Literal["auto"]) -> Choice:
    """Device, precision and threads for this process."""
    import torch

    if torch.cuda.is_available():
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        device = torch.cuda.get_device_name(0)
    else:
        # Without bf16 instructions, or where ONEDNN_MAX_CPU_ISA keeps oneDNN from them, autocast to bf16 is emulated
        # and many times slower than fp32.
        instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        supported = instructions and torch.backends.mkldnn.is_available()
        supported = supported and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        device = f"CPU, {torch.get_num_threads()} threads"
    use = supported if bf16 == "auto" else bf16
    if bf16 == "auto":
        reason = "supported by the hardware" if supported else "no bf16 instructions here"
    else:
        reason = "set in the recipe"
    return Choice(device, use, torch.get_num_threads(), f"{device}; {'bf16' if use else 'fp32'} ({reason})")


def keep_memory() -> None:
    """Keep glibc from returning large activations to the kernel, which causes page faults in every step.

    By default it returns every block of more than 32 MB, and a CPU training step takes up to four times as long. Does
    nothing on systems without mallopt.
    """
    if mallopt := _of_glibc("mallopt"):
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


def keep_few_shapes() -> None:
    """Let oneDNN, which computes bf16 on CPUs, keep the code of few shapes. Call it before torch is loaded.

    It compiles code for every number of tokens, and keeps that of a thousand of them in either of two caches: half a
    gigabyte, after hours of requests that are all of different lengths. A pass needs a dozen. The user's settings stay.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "32")


def give_memory_back() -> None:
    """Return free memory, which `keep_memory` retains, to the kernel: other allocators and programs may need it."""
    if malloc_trim := _of_glibc("malloc_trim"):
        malloc_trim(0)


def _of_glibc(name: str) -> Any:
    """A function of glibc; None on systems without it."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None


def quiet() -> None:
    """Silence progress bars and log messages of the libraries. llmkit prints what matters itself.

    A library that is not imported yet is told by the environment, which it reads then: it may never be needed.
    """
    if "huggingface_hub" in sys.modules:
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # re-exported there

        disable_progress_bars()
    else:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if "transformers" in sys.modules:
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
    else:
        os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # its progress bars follow those of huggingface_hub
    if "datasets" in sys.modules:
        import datasets

        datasets.utils.logging.set_verbosity_error()
        datasets.disable_progress_bars()
    else:
        os.environ |= {"DATASETS_VERBOSITY": "error", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def hardware() -> dict[str, Any]:
    """Describe the hardware, for env.json and doctor."""
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
    """Versions of Python, llmkit and its main dependencies."""
    return {
        "python": platform.python_version(),
        "llmkit": version("llmkit"),
        **{library: version(library) for library in LIBRARIES},
    }


def environment(data: Mapping[str, Any], sizes: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The content of a run's env.json: command line, versions, hardware, number of processes, fingerprints and sizes of
    the data, and commits of the Hub repositories it uses."""
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
