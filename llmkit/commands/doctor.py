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

NAME_WIDTH = 17  # characters, for the longest name and two spaces


def findings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what doctor reports as (group, plain values): first what takes no import, last the Hub."""
    yield "versions", versions()
    yield "cores", describe()
    folder = cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    yield "cache", {"folder": str(folder), "writable": existing.is_dir() and os.access(existing, os.W_OK)}
    quiet()
    yield "hardware", hardware()
    yield "chosen", {"computing": choose("auto").why, "processes": default_processes()}
    yield "hub", {"endpoint": endpoint(), "state": _hub_state()}


def show(groups: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Print a line for each finding on stdout, as soon as it is found."""
    for group, found in groups:
        for name, value in _lines(group, found):
            result(f"{name:<{NAME_WIDTH}}{value}")


def _lines(group: str, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if group == "cache":
        yield group, f"{found['folder']} ({'writable' if found['writable'] else 'NOT writable: set LLMKIT_CACHE'})"
    elif group == "hub":
        yield group, f"{found['endpoint']}: {found['state']}"
    else:
        for name, value in found.items():
            yield name, ", ".join(value) or "none" if isinstance(value, list) else str(value)


def _hub_state() -> str:
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # re-exported there

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return "not checked (HF_HUB_OFFLINE is set)"
    try:
        response = httpx.get(f"{endpoint()}/api/models?limit=1", timeout=TIMEOUT)
    except httpx.HTTPError as error:
        return f"not reachable ({type(error).__name__}): local files and the cache work, Hub ids do not"
    return "reachable" if response.is_success else f"answers with status {response.status_code}"
