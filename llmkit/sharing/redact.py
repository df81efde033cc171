"""Make text fit to publish: shorten paths and remove secrets."""

from __future__ import annotations

import re
from typing import Any

from llmkit.system.secrets import without_secrets

CUT = "…"
_ENDS = r"/,;=:\s\"'{}\[\]()"  # characters that end a part of a path: a heuristic, since paths may contain them
# An absolute path, a path in a home folder, or a path that leaves the working directory.
_PATH = re.compile(rf"(?<![\w.{CUT}/-])(?:~[\w.-]*|\.\.)?(?:/[^{_ENDS}]+)+/?")


def shareable(value: Any) -> Any:
    """Redact every string in plain values.

    `/home/jane/data/train.json` becomes `…/train.json`. Hub tokens are hidden, logins in URLs removed. Relative paths
    and Hub ids do not change.
    """
    if isinstance(value, dict):
        return {key: shareable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shareable(part) for part in value]
    if not isinstance(value, str):
        return value
    return _PATH.sub(lambda path: f"{CUT}/{path[0].rstrip('/').rpartition('/')[2]}", without_secrets(value))
