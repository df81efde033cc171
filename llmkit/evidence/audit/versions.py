"""Versions of examples: a split with some of its texts changed, before and after, for a model to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

import numpy as np

from llmkit.tasks.base import Task
from llmkit.tasks.columns import Columns
from llmkit.tasks.editing import Edited, Texts

Edits = Mapping[str, Edited]

EXCERPT = 160  # characters of a text that is shown


@dataclass(frozen=True)
class Version:
    """The examples that a change changes: as they were, as they are after it, and the edits of each."""

    before: Columns
    after: Columns
    edits: tuple[Edits, ...]

    def __len__(self) -> int:
        return len(self.edits)


def drawn(examples: Any, most: int) -> Columns:
    """At most so many examples, in memory: drawn at random, always the same, in their order."""
    size = len(examples)
    numbers = np.arange(size)
    if most < size:
        numbers = np.sort(np.random.default_rng(0).permutation(size)[:most])
    return Columns(examples[numbers])


def version(task: Task[Any], examples: Columns, edits_of: Callable[[Texts, str], Edits]) -> Version:
    """The examples with texts edited by `edits_of`, of texts and id. Those that do not change are left out, and those
    whose gold answer cannot follow."""
    rows, changed, edits = [], [], []
    for row in examples:
        made = edits_of(task.editor.texts(row), row["id"])
        new = task.editor.edited(row, made) if made else None
        if new is not None:
            rows.append(row)
            changed.append(new)
            edits.append(made)
    names = examples.column_names
    before, after = (Columns({name: [row[name] for row in some] for name in names}) for some in (rows, changed))
    return Version(before, after, tuple(edits))


def excerpts(before: str, after: str) -> tuple[str, str]:
    """Both texts around their first difference."""
    start = max(0, len(commonprefix([before, after])) - EXCERPT // 4)  # noqa: RUF071 - of texts, not of paths
    return _cut(before, start), _cut(after, start)


def _cut(text: str, start: int) -> str:
    shown = " ".join(text[start : start + EXCERPT].split())
    return f"{'…' if start else ''}{shown}{'…' if start + EXCERPT < len(text) else ''}"


def described(texts: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Lines with excerpts of the texts of an example, before and after."""
    for name, (before, after) in texts.items():
        yield f"  {name} before: {before}"
        yield f"  {name} after:  {after}"


def of_drawn(size: int, of: int, item: str) -> str:
    """A sentence about what was drawn."""
    if size == of:
        return f"All {of:,} {item}s were looked at."
    return f"{size:,} of {of:,} {item}s were looked at, drawn at random, always the same; --examples takes more."


def unfit(task: Task[Any]) -> str | None:
    """Why the examples of a kind of task cannot be changed; None if they can."""
    if task.editor.unedited is None:
        return None
    return f"the examples of {task.name} cannot be changed: {task.editor.unedited}"
