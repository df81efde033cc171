"""Out of memory: told apart from other errors, and answered with the same batch in smaller pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from llmkit.system.errors import UserError

# Libraries that allocate on their own raise a plain RuntimeError. (torch's allocator on a CPU; CUDA outside of
# torch's allocator; a C++ library's; cuBLAS; oneDNN, which says no more than that.)
WORDS = (
    "DefaultCPUAllocator",
    "out of memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a primitive",
)
SHOWN = 160  # characters of the library's own message


class OutOfMemory(UserError):
    """Memory ran out. `smaller` holds keys of `train` that take less of it and make the same batches;
    none where one example is too much. `restart` says that the run's recipe has them by now."""

    def __init__(self, where: str, error: BaseException, smaller: Mapping[str, int], go_on: str = "") -> None:
        if smaller:
            overrides = " ".join(f"train.{name}={value}" for name, value in smaller.items())
            kept = ", which keeps the batch" if "gradient_accumulation_steps" in smaller else ""
            remedy = f"set {overrides}{kept}, or let --auto-batch find what fits{go_on}"
        else:
            remedy = "shorten the inputs (data.max_length, corpus.block_size), or take a smaller model or more memory"
        super().__init__(f"out of memory {where}{_detail(error)}", remedy=remedy)
        self.smaller = dict(smaller)
        self.restart = False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)


def smaller_pieces(batch_size: int, accumulated: int) -> dict[str, int]:
    """The next smaller micro-batch that makes the same batch, and how many of them do."""
    batch = batch_size * accumulated
    size = next((size for size in range(batch_size // 2, 0, -1) if batch % size == 0), None)
    if size is None:
        return {}
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": batch // size}


@contextmanager
def evaluating(rows: int, length: int) -> Iterator[None]:
    """Raises OutOfMemory where memory runs out over a batch of an evaluation."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = f"in an evaluation, on a batch of {rows} × {length} tokens"
        smaller = {"per_device_eval_batch_size": rows // 2} if rows > 1 else {}
        raise OutOfMemory(where, error, smaller) from error


def _detail(error: BaseException) -> str:
    lines = str(error).splitlines()
    text = lines[0].rpartition(" DefaultCPUAllocator: ")[2].strip() if lines else ""
    return f" ({text[:SHOWN].rstrip('. ')})" if text else ""
