"""What a user's own text becomes before strangers read it: paths shortened, secrets taken out."""

from __future__ import annotations

import re
from typing import Any

CUT, HIDDEN = "…", "[hidden]"
_ENDS = r"/,;=:\s\"'{}\[\]()"  # characters that no part of a path holds, as far as a text can tell
# An absolute path, one from the home folder, or one that leaves the folder in which the command ran.
_PATH = re.compile(rf"(?<![\w.{CUT}/-])(?:~[\w.-]*|\.\.)?(?:/[^{_ENDS}]+)+/?")
_TOKEN = re.compile(r"\b(?:hf|api_org)_\w{8,}")
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")  # user:password@ of an address


def shareable(value: Any) -> Any:
    """Plain values with every string in them made fit to publish.

    `/home/jane/data/train.json` becomes `…/train.json`; tokens of the Hub and logins inside addresses are hidden.
    Relative paths and names on the Hub stay as they are.
    """
    if isinstance(value, dict):
        return {key: shareable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shareable(part) for part in value]
    if not isinstance(value, str):
        return value
    text = _LOGIN.sub("", _TOKEN.sub(HIDDEN, value))
    return _PATH.sub(lambda path: f"{CUT}/{path[0].rstrip('/').rpartition('/')[2]}", text)
