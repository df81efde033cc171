"""Robustness: by how much a score falls if the texts change in ways that should not matter (suite.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llmkit.evidence.audit.audited import Audited, AuditTable, Wanted
from llmkit.evidence.audit.scored import RESAMPLES, compared, measured, score_name, value
from llmkit.evidence.audit.suite import SUITE, Perturbation
from llmkit.evidence.audit.versions import Version, described, drawn, excerpts, of_drawn, version
from llmkit.evidence.paired import Difference, holm
from llmkit.tasks.base import Task
from llmkit.tasks.bootstrap import interval
from llmkit.tasks.score_tables import interval_text
from llmkit.tasks.values import Prediction

KEPT, SHOWN = 10, 3  # examples that flipped, of each change: in JSON, and on the terminal


@dataclass(frozen=True)
class Flip:
    """An example that was answered right, and is answered wrong after a change. Texts are excerpts, (before, after)."""

    id: str
    texts: dict[str, tuple[str, str]]
    before: str
    after: str


@dataclass(frozen=True)
class Changed:
    """What a change does: scores of the examples that it changes, in percent, and their difference, after − before.

    p        of the difference, by the bootstrap, corrected by Holm for the whole suite; None if no interval exists
    flipped  how many of the examples were right before and wrong after; `gained` the other way around. None if answers
             cannot be right or wrong
    """

    name: str
    what: str
    examples: int
    before: float
    before_interval: list[float] | None
    after: float
    after_interval: list[float] | None
    difference: Difference
    p: float | None
    flipped: int | None
    gained: int | None
    flips: tuple[Flip, ...]


@dataclass(frozen=True)
class Robustness:
    """The changes of a suite, each of some of `drawn` examples, out of `examples`. `unchanged` changed none of them."""

    score: str
    item: str
    drawn: int
    examples: int
    changes: tuple[Changed, ...]
    unchanged: tuple[str, ...]

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def tables(self) -> list[AuditTable]:
        """See Result."""
        columns = ["change", f">{self.item}s", ">before", ">after", ">difference", "95 % interval", ">p, Holm"]
        rows = [
            [
                each.name,
                f"{each.examples:,}",
                f"{each.before:.2f}",
                f"{each.after:.2f}",
                f"{each.difference.value:+.2f}",
                interval_text(each.difference.interval),
                "" if each.p is None else f"{each.p:.4f}",
                "" if each.flipped is None else f"{each.flipped:,}",
                "" if each.gained is None else f"{each.gained:,}",
            ]
            for each in self.changes
        ]
        return [AuditTable(f"{self.score} before and after", [*columns, ">right to wrong", ">wrong to right"], rows)]

    def notes(self) -> list[str]:
        """See Result."""
        unchanged = f" Changes without a {self.item} to change: {', '.join(self.unchanged)}." if self.unchanged else ""
        return [
            f"{of_drawn(self.drawn, self.examples, self.item)} Each row is of those that its change changes.{unchanged}"
        ]

    def shown(self) -> Iterator[str]:
        """See Result: some examples of each change that are no longer right; `as_row` has more."""
        for each in self.changes:
            for flip in each.flips[:SHOWN]:
                yield f"\n{each.name}, {flip.id}: {flip.before!r} became {flip.after!r}"
                yield from described(flip.texts)


def audit(audited: Audited, wanted: Wanted) -> Robustness:
    """The suite on a fine-tuned model."""
    return robustness(audited, wanted.examples)


def robustness(
    run: Audited, most: int, suite: Sequence[Perturbation] = SUITE, resamples: int = RESAMPLES
) -> Robustness:
    """Change at most `most` examples in each way of the suite, and score the model before and after."""
    examples = drawn(run.examples, most)
    predictions = run.predict(examples)
    before = {prediction.id: prediction for prediction in predictions}
    score = score_name(run.task, predictions, examples, run.data)
    found, unchanged = [], []
    for change in suite:
        made = version(run.task, examples, change.edits)
        if len(made):
            found.append(_scored(run, score, change, made, before, resamples))
        else:
            unchanged.append(change.name)
    known = iter(holm([p for each in found if (p := each.difference.bootstrap) is not None]))
    corrected = [None if each.difference.bootstrap is None else next(known) for each in found]
    changes = tuple(Changed(**{**vars(each), "p": p}) for each, p in zip(found, corrected, strict=True))
    return Robustness(score, run.task.item, len(examples), len(run.examples), changes, tuple(unchanged))


def _scored(
    run: Audited, score: str, change: Perturbation, made: Version, predicted: Mapping[str, Prediction], resamples: int
) -> Changed:
    task, data = run.task, run.data
    old = [predicted[example_id] for example_id in made.before["id"]]
    new = run.predict(made.after)
    second = measured(task, score, old, made.before, data)
    first, groups = measured(task, score, new, made.after, data).measure, second.groups
    right, wrong = task.correct(old, made.before, data), task.correct(new, made.after, data)
    lost = None if right is None or wrong is None else np.flatnonzero(right & ~wrong).tolist()
    return Changed(
        change.name,
        change.what,
        len(made),
        value(second.measure, groups),
        interval(second.measure, groups, resamples=resamples),
        value(first, groups),
        interval(first, groups, resamples=resamples),
        compared(first, second.measure, groups, resamples),
        None,
        None if lost is None else len(lost),
        None if right is None or wrong is None else int((~right & wrong).sum()),
        tuple(_flip(task, made, n, old[n], new[n]) for n in (lost or ())[:KEPT]),
    )


def _flip(task: Task[Any], made: Version, number: int, old: Prediction, new: Prediction) -> Flip:
    inputs = task.editor.texts(made.before[number]).inputs
    texts = {name: excerpts(edit.before, edit.text) for name, edit in made.edits[number].items() if name in inputs}
    return Flip(old.id, texts, old.text, new.text)
