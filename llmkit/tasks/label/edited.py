"""Texts that are edited: their labels and numbers stay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from llmkit.tasks.editing import Edited, Texts
from llmkit.tasks.editor import Editor
from llmkit.tasks.values import Prediction


class LabelEditor(Editor):
    """Edits a text, or both of a pair."""

    unedited: ClassVar[str | None] = None

    def texts(self, example: Mapping[str, Any]) -> Texts:
        """See Editor."""
        return Texts({name: example[name] for name in ("text", "pair") if example[name]})

    def edited(self, example: Mapping[str, Any], edits: Mapping[str, Edited]) -> dict[str, Any] | None:
        """See Editor: None if nothing is left of both texts."""
        found = {**example, **{name: edit.text for name, edit in edits.items()}}
        return found if f"{found['text']}{found['pair'] or ''}".strip() else None


class NumberEditor(LabelEditor):
    """Edits a text with a number."""

    def same_answer(self, before: Prediction, after: Prediction, edits: Mapping[str, Edited]) -> bool:
        """See Editor: within one percent."""
        return math.isclose(float(before.text), float(after.text), rel_tol=0.01)
