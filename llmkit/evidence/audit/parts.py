"""The parts of an audit, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmkit.evidence.audit import contamination, fairness, robustness, stereotypes
from llmkit.evidence.audit.audited import Audited, Result, Wanted
from llmkit.evidence.audit.versions import unfit
from llmkit.models.checkpoint import Checkpoint
from llmkit.tasks.base import Task


@dataclass(frozen=True)
class Part:
    """A part of an audit: of a fine-tuned model, of a masked language model, or of both.

    `title` heads its tables. `extra` and `packages` are what it needs that not every user has installed.
    `unfit` says why it is impossible for a task; None if it is possible.
    """

    title: str
    of_task: Callable[[Audited, Wanted], Result] | None = None
    of_masked_lm: Callable[[Checkpoint, Wanted], Result] | None = None
    extra: str = "audit"
    packages: tuple[str, ...] = ()
    unfit: Callable[[Task[Any]], str | None] = lambda task: None


PARTS: dict[str, Part] = {
    "contamination": Part("Contamination", contamination.audit, packages=("datasketch",)),
    "robustness": Part("Robustness", robustness.audit, unfit=unfit),
    "fairness": Part("Fairness", fairness.audit, stereotypes.audit_masked_lm, unfit=unfit),
}
