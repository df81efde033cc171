"""Packages that only some commands need: `pip install "llmkit[explain]"`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from llmkit.system.errors import UserError


def need(extra: str, packages: Sequence[str]) -> None:
    """Raises UserError if a package of an extra is missing."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise UserError(
            f"this needs packages that are not installed: {', '.join(missing)}",
            remedy=f'install them: pip install "llmkit[{extra}]"',
        )
