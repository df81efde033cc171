"""Out of memory: recognize it, and suggest smaller micro-batches that make the same batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from llmkit.system.errors import UserError

# Messages of plain RuntimeErrors: torch's CPU allocator, CUDA outside torch's allocator, C++ libraries, cuBLAS, and
# oneDNN, whose message says nothing more specific.
MESSAGES = (
    "DefaultCPUAllocator",
    "out of memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a primitive",
)
MAX_DETAIL = 160  # characters of the library's own message


class OutOfMemory(UserError):
    """Memory ran out.

    `smaller` maps keys of `train` to values that need less memory and make the same batches; it is empty if a single
    example does not fit. `restart` is set once the run's recipe has these values, so that the run can be restarted.
    """

    def __init__(self, where: str, error: BaseException, smaller: Mapping[str, int], resume: str = "") -> None:
        if smaller:
            overrides = " ".join(f"train.{name}={value}" for name, value in smaller.items())
            kept = ", which keeps the batch" if "gradient_accumulation_steps" in smaller else ""
            remedy = f"set {overrides}{kept}, or let --auto-batch find what fits{resume}"
        else:
            remedy = "shorten the inputs (data.max_length, corpus.block_size), or take a smaller model or more memory"
        super().__init__(f"out of memory {where}{_detail(error)}", remedy=remedy)
        self.smaller = dict(smaller)
        self.restart = False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the CPU or the GPU ran out of memory."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in MESSAGES)


def smaller_micro_batch(batch_size: int, accumulation: int) -> dict[str, int]:
    """The next smaller micro-batch size that divides the batch, with its accumulation steps; empty if there is none."""
    batch = batch_size * accumulation
    size = next((size for size in range(batch_size // 2, 0, -1) if batch % size == 0), None)
    if size is None:
        return {}
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": batch // size}


@contextmanager
def evaluating(rows: int, length: int, *, most: int) -> Iterator[None]:
    """Convert out-of-memory errors of an evaluation batch into OutOfMemory.

    `most` is the number of the longest rows that are a batch. A batch of shorter rows may have more of them, and half
    of that would be too many for the longest.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = f"in an evaluation, on a batch of {rows} × {length} tokens"
        smaller = {"per_device_eval_batch_size": max(1, min(rows, most) // 2)} if rows > 1 else {}
        raise OutOfMemory(where, error, smaller) from error


def _detail(error: BaseException) -> str:
    lines = str(error).splitlines()
    text = lines[0].rpartition(" DefaultCPUAllocator: ")[2].strip() if lines else ""
    return f" ({text[:MAX_DETAIL].rstrip('. ')})" if text else ""
