"""Hide secrets in what leaves the machine or is printed: tokens, and what addresses carry."""

from __future__ import annotations

import re

HIDDEN = "[hidden]"
_TOKEN = re.compile(r"\b(?:hf|api_org)_\w{8,}")
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")  # user:password@ in a URL
_PARAMETER = re.compile(r"(?i)([?&][^=&\s]*(?:token|key|sig|secret|password|credential)[^=&\s]*=)[^&\s'\"]+")


def without_secrets(text: str) -> str:
    """The text without Hub tokens, logins in URLs, and keys and signatures among their parameters."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", _LOGIN.sub("", _TOKEN.sub(HIDDEN, text)))
