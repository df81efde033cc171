"""How many threads the libraries start, and how these wait. The libraries read both from the environment, once."""

from __future__ import annotations

import os
import sys

from llmkit.system.cores import cores

# Between two steps of a computation threads wait for one another. Those of libgomp, which torch uses on Linux, look
# 300,000 times (milliseconds) whether they may go on before they sleep, and a small model waits thousands of times in a
# step. Beside other programs that keeps cores from the very thread that they wait for. 1,000 times (20 microseconds)
# is long enough where nothing else runs: see benchmarks/busy.py.
SPINS = 1000
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")  # the last one is for Intel's library
COUNTS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")  # of torch, of tokenizers
OURS = "LLMKIT_THREADS"  # what llmkit set, as NAME=VALUE: a process it starts has other limits, and may set it anew


def fit_threads() -> None:
    """Set what is better than the libraries' defaults, in this process and those it starts. The user's settings stay.

    Waiting threads soon sleep. Threads are counted by llmkit where the libraries would start too many: with a CPU
    quota, or if several processes share the machine. Does nothing once torch is loaded, which does not look again.
    """
    if "torch" in sys.modules:
        return
    if sys.platform == "linux" and not any(name in os.environ for name in WAITING):
        _set("GOMP_SPINCOUNT", SPINS)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE") or "1")
    found = cores()
    if found.limited or processes > 1:
        for name, count in zip(COUNTS, (found.threads, found.usable), strict=True):
            if name not in os.environ or _is_ours(name):
                _set(name, max(1, count // processes))


def describe() -> dict[str, str]:
    """Cores, threads and how these wait, each with who decided it, and what else the machine does."""
    found = cores()
    if "OMP_NUM_THREADS" in os.environ:
        threads = f"{os.environ['OMP_NUM_THREADS']} ({_origin('OMP_NUM_THREADS')})"
    else:
        threads = f"{found.threads} (one for each core)"
    decided = [f"{name}={os.environ[name]}, {_origin(name)}" for name in WAITING if name in os.environ]
    waiting = "sleep soon" if _is_ours("GOMP_SPINCOUNT") else "as set" if decided else "as torch was built"
    return {
        "usable_cores": found.why,
        "threads": threads,
        "waiting_threads": f"{waiting} ({'; '.join(decided)})" if decided else waiting,
        "load": f"{os.getloadavg()[0]:.1f} busy in the last minute" if hasattr(os, "getloadavg") else "unknown",
    }


def _set(name: str, value: int) -> None:
    mine = [entry for entry in _ours() if not entry.startswith(f"{name}=")]
    os.environ[name] = str(value)
    os.environ[OURS] = " ".join([*mine, f"{name}={value}"])


def _is_ours(name: str) -> bool:
    return f"{name}={os.environ.get(name)}" in _ours()


def _origin(name: str) -> str:
    return "set by llmkit" if _is_ours(name) else "from your environment"


def _ours() -> list[str]:
    return os.environ.get(OURS, "").split()
