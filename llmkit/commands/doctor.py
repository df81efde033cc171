"""`llmkit doctor`: report versions and hardware, what llmkit would use, and what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from llmkit.system.cache import cache_folder
from llmkit.system.console import result
from llmkit.system.hub import TIMEOUT, endpoint
from llmkit.system.machine import choose, hardware, quiet, versions
from llmkit.system.processes import default_processes
from llmkit.system.threads import describe

NAME_WIDTH = 15  # of the longest name, waiting_threads


def findings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Find out what doctor reports, as plain values, a section at a time: the slow ones come last."""
    yield "versions", versions()
    yield "threads", describe()
    folder = cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    yield "cache", {"folder": str(folder), "writable": existing.is_dir() and os.access(existing, os.W_OK)}
    quiet()
    yield "hardware", {name: value for name, value in hardware().items() if name != "cores"}  # shown with the threads
    yield "chosen", {"computing": choose("auto").why, "processes": default_processes()}
    yield "hub", {"endpoint": endpoint(), "state": _hub_state()}


def show(sections: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Print the findings on stdout, a line each, as they come."""
    _line("", "found")
    for name, found in sections:
        if name == "cache":
            state = "writable" if found["writable"] else "NOT writable: set LLMKIT_CACHE"
            _line(name, f"{found['folder']} ({state})")
        elif name == "hub":
            _line(name, f"{found['endpoint']}: {found['state']}")
        else:
            for key, value in found.items():
                _line(key, ", ".join(value) or "none" if isinstance(value, list) else str(value))


def _line(name: str, value: str) -> None:
    result(f"{name:<{NAME_WIDTH}}  {value}")


def _hub_state() -> str:
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # re-exported there

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return "not checked (HF_HUB_OFFLINE is set)"
    try:
        response = httpx.get(f"{endpoint()}/api/models?limit=1", timeout=TIMEOUT)
    except httpx.HTTPError as error:
        return f"not reachable ({type(error).__name__}): local files and the cache work, Hub ids do not"
    return "reachable" if response.is_success else f"answers with status {response.status_code}"
