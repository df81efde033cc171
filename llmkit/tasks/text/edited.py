"""Sources that are edited: what is swapped in one is swapped in its target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from llmkit.tasks.editing import Edited, Texts
from llmkit.tasks.editor import Editor


@dataclass(frozen=True)
class TextEditor(Editor):
    """Edits a source and its target. `translated` says whether these are in two languages."""

    translated: bool

    unedited: ClassVar[str | None] = None

    def texts(self, example: Mapping[str, Any]) -> Texts:
        """See Editor: the source; the target is gold."""
        return Texts({"source": example["source"]}, gold={"target": example["target"]}, translated=self.translated)

    def edited(self, example: Mapping[str, Any], edits: Mapping[str, Edited]) -> dict[str, Any] | None:
        """See Editor: None if nothing is left of the source, or of a target."""
        found = {**example, **{name: edit.text.strip() for name, edit in edits.items()}}
        return found if found["source"] and (found["target"] or not example["target"]) else None
