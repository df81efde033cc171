"""`llmkit doctor`: report versions and hardware, what llmkit would use, and what is missing."""

from __future__ import annotations

import os
from typing import Any

from llmkit.system.cache import cache_folder
from llmkit.system.console import table
from llmkit.system.hub import TIMEOUT, endpoint
from llmkit.system.machine import choose, hardware, quiet, versions
from llmkit.system.processes import default_processes


def examine() -> dict[str, Any]:
    """Collect everything that doctor reports, as plain values."""
    quiet()
    folder = cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return {
        "versions": versions(),
        "hardware": hardware(),
        "chosen": {"computing": choose("auto").why, "processes": default_processes()},
        "cache": {"folder": str(folder), "writable": existing.is_dir() and os.access(existing, os.W_OK)},
        "hub": {"endpoint": endpoint(), "state": _hub_state()},
    }


def show(findings: dict[str, Any]) -> None:
    """Print the findings as a table on stdout."""
    hub, cache = findings["hub"], findings["cache"]
    rows = [[name, value] for name, value in findings["versions"].items()]
    rows += [
        [name, ", ".join(v) or "none" if isinstance(v, list) else str(v)] for name, v in findings["hardware"].items()
    ]
    rows += [[name, str(value)] for name, value in findings["chosen"].items()]
    rows.append(
        [
            "cache",
            f"{cache['folder']} ({'writable' if cache['writable'] else 'NOT writable: set LLMKIT_CACHE'})",
        ]
    )
    rows.append(["hub", f"{hub['endpoint']}: {hub['state']}"])
    table(["", "found"], rows)


def _hub_state() -> str:
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # re-exported there

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return "not checked (HF_HUB_OFFLINE is set)"
    try:
        response = httpx.get(f"{endpoint()}/api/models?limit=1", timeout=TIMEOUT)
    except httpx.HTTPError as error:
        return f"not reachable ({type(error).__name__}): local files and the cache work, Hub ids do not"
    return "reachable" if response.is_success else f"answers with status {response.status_code}"
