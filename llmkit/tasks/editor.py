"""How examples of a kind are edited, for audits: which of their texts, and how the gold answer follows.

`Task.editor` gives an Editor. Each kind of task has a subclass in its own folder, in edited.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmkit.tasks.editing import Edited, Texts
from llmkit.tasks.values import Prediction


class Editor:
    """Edits examples. This one serves kinds that cannot be edited: it says so in `unedited`, and is not asked more."""

    # Why examples cannot be edited; None if they can.
    unedited: ClassVar[str | None] = "its kind does not say how a gold answer follows a change of its texts"

    def texts(self, example: Mapping[str, Any]) -> Texts:
        """The texts of an example that can be edited so that its gold answer follows."""
        raise NotImplementedError  # a kind without it says so in `unedited`, and is not asked

    def edited(self, example: Mapping[str, Any], edits: Mapping[str, Edited]) -> dict[str, Any] | None:
        """The example with some of its `texts` edited, and the gold answer where it is then; None if it cannot follow.

        `edits` are by name, of `Texts.edited`.
        """
        raise NotImplementedError  # as above

    def same_answer(self, before: Prediction, after: Prediction, edits: Mapping[str, Edited]) -> bool:
        """Whether the prediction for an edited example is the one `before` the edit."""
        return before.text == after.text
