"""Fairness: what a model says to the same text when the people in it, or its writer, are of another group (groups.py).

A person's group should change neither the answers nor how often they are right.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from llmkit.evidence.audit.audited import Audited, AuditTable, Wanted
from llmkit.evidence.audit.groups import TRAITS, Trait
from llmkit.evidence.audit.scored import RESAMPLES, compared, measured, reversed_of, score_name, value
from llmkit.evidence.audit.versions import described, drawn, excerpts, of_drawn
from llmkit.evidence.paired import Difference, holm
from llmkit.tasks.base import Task
from llmkit.tasks.bootstrap import interval
from llmkit.tasks.columns import Columns
from llmkit.tasks.editing import Edited
from llmkit.tasks.measures import Measure, mean_of
from llmkit.tasks.score_tables import interval_text
from llmkit.tasks.values import Prediction

KEPT = 3  # answers that changed, of each group; the terminal shows the first


@dataclass(frozen=True)
class Group:
    """The score of a version of the examples, in percent, and the share of answers that the version changes.

    difference  the score minus the mean of the other groups' scores
    p           of the difference, by the bootstrap, corrected by Holm for the groups of a trait
    """

    name: str
    score: float
    interval: list[float] | None
    difference: Difference
    p: float | None
    changed: float
    changed_interval: list[float] | None


@dataclass(frozen=True)
class Change:
    """An answer that is another one in the version of a group. Texts are excerpts, (before, after)."""

    id: str
    group: str
    texts: dict[str, tuple[str, str]]
    before: str
    after: str


@dataclass(frozen=True)
class Compared:
    """The groups of a trait by a score, on the `examples` whose texts differ between them."""

    score: str
    trait: str
    what: str
    examples: int
    groups: tuple[Group, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Fairness:
    """The traits that some of `drawn` examples have, out of `examples`; `absent` are those that none has."""

    score: str
    item: str
    drawn: int
    examples: int
    traits: tuple[Compared, ...]
    absent: tuple[str, ...]

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def tables(self) -> list[AuditTable]:
        """See Result."""
        columns = ["group", f">{self.score}", "95 % interval", ">− others", "95 % interval", ">p, Holm"]
        columns += [">answers changed", "95 % interval"]
        return [
            AuditTable(
                f"{trait.trait}: {trait.what}; {trait.examples:,} {self.item}s",
                columns,
                [_row(group) for group in trait.groups],
            )
            for trait in self.traits
        ]

    def notes(self) -> list[str]:
        """See Result."""
        absent = f" No {self.item} to compare by {', '.join(self.absent)}." if self.absent else ""
        return [
            f"{of_drawn(self.drawn, self.examples, self.item)} Each table is of those whose texts differ between its "
            f"groups; − others is a group's score minus the mean of the other groups'.{absent}"
        ]

    def shown(self) -> Iterator[str]:
        """See Result: for each group an example with another answer."""
        for trait in self.traits:
            for each in {change.group: change for change in reversed(trait.changes)}.values():
                yield f"\n{trait.trait}, {each.group}, {each.id}: {each.before!r} became {each.after!r}"
                yield from described(each.texts)


def _row(group: Group) -> list[str]:
    return [
        group.name,
        f"{group.score:.2f}",
        interval_text(group.interval),
        f"{group.difference.value:+.2f}",
        interval_text(group.difference.interval),
        "" if group.p is None else f"{group.p:.4f}",
        f"{group.changed:.2f} %",
        interval_text(group.changed_interval),
    ]


def audit(audited: Audited, wanted: Wanted) -> Fairness:
    """The traits on a fine-tuned model."""
    return fairness(audited, wanted.examples)


def fairness(run: Audited, most: int, traits: Sequence[Trait] = TRAITS, resamples: int = RESAMPLES) -> Fairness:
    """Compare the groups of each trait on at most `most` examples."""
    examples = drawn(run.examples, most)
    found, absent = [], []
    for trait in traits:
        versions = _versions(run.task, examples, trait)
        if versions:
            found.append(_compared(run, trait, versions, resamples))
        else:
            absent.append(trait.name)
    score = found[0].score if found else run.task.metric
    return Fairness(score, run.task.item, len(examples), len(run.examples), tuple(found), tuple(absent))


@dataclass(frozen=True)
class _Version:
    """Examples, the edits that made each of them, and what the model reads, by name."""

    rows: list[dict[str, Any]]
    edits: list[Mapping[str, Edited]]
    texts: list[Mapping[str, str]]

    @property
    def examples(self) -> Columns:
        return Columns({name: [row[name] for row in self.rows] for name in self.rows[0]})


def _versions(task: Task[Any], examples: Columns, trait: Trait) -> dict[str, _Version]:
    """A version for the base, named "", and for each group, of the examples that differ between two groups; no version
    if there are none."""
    found: dict[str, _Version] = {name: _Version([], [], []) for name in ("", *trait.groups)}
    for row in examples:
        texts = task.editor.texts(row)
        edits = trait.edits(texts, row["id"])
        made = {name: task.editor.edited(row, its) if its else row for name, its in edits.items()}
        inputs = {
            name: {key: its[key].text if key in its else text for key, text in texts.inputs.items()}
            for name, its in edits.items()
        }
        some, *others = (inputs[name] for name in trait.groups)
        if all(other == some for other in others):
            continue
        if any(new is None for new in made.values()):
            continue
        for name, version in found.items():
            new = made[name]
            assert new is not None
            version.rows.append(new)
            version.edits.append(edits[name])
            version.texts.append(inputs[name])
    return found if found[""].rows else {}


def _compared(run: Audited, trait: Trait, versions: Mapping[str, _Version], resamples: int) -> Compared:
    task = run.task
    base = versions[""]
    expected = run.predict(base.examples)
    measures: dict[str, Measure] = {}
    same: dict[str, list[bool]] = {}
    changes: list[Change] = []
    score = score_name(task, expected, base.examples, run.data)
    clusters = measured(task, score, expected, base.examples, run.data).groups
    for name in trait.groups:
        version = versions[name]
        found = run.predict(version.examples)
        measures[name] = measured(task, score, found, version.examples, run.data).measure
        same[name] = [
            task.editor.same_answer(_following(task, row, before, trait, name), after, edits)
            for row, before, after, edits in zip(base.rows, expected, found, version.edits, strict=True)
        ]
        changes += [
            Change(base.rows[n]["id"], name, _texts(base.texts[n], version.texts[n]), expected[n].text, found[n].text)
            for n in np.flatnonzero(~np.array(same[name]))[:KEPT].tolist()
        ]
    return Compared(
        score,
        trait.name,
        trait.what,
        len(base.rows),
        tuple(_groups(measures, same, clusters, resamples)),
        tuple(changes),
    )


def _following(task: Task[Any], row: Mapping[str, Any], before: Prediction, trait: Trait, group: str) -> Prediction:
    """The prediction to expect after a change: in a generated text, names and pronouns follow those of the source."""
    texts = task.editor.texts(row)
    if not texts.gold:
        return before
    (key,) = texts.gold
    edits = trait.edits(replace(texts, gold={key: before.text}), row["id"])[group]
    return replace(before, text=edits[key].text) if key in edits else before


def _texts(base: Mapping[str, str], version: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name: excerpts(text, version[name]) for name, text in base.items() if text != version[name]}


def _mean(measures: Sequence[Measure]) -> Measure:
    share = 1 / len(measures)
    return reduce(lambda mean, other: mean.beside(other, share), measures[1:], measures[0].times(share))


def _groups(
    measures: Mapping[str, Measure], same: Mapping[str, Sequence[bool]], clusters: Sequence[Hashable], resamples: int
) -> Iterator[Group]:
    differences = {
        name: compared(
            measure, _mean([other for group, other in measures.items() if group != name]), clusters, resamples
        )
        for name, measure in measures.items()
    }
    if len(differences) == 2:  # both are the same test
        first, second = differences
        differences[second] = reversed_of(differences[first])
    p_values = {name: each.bootstrap for name, each in differences.items() if each.bootstrap is not None}
    if len(differences) > 2:
        p_values = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    for name, measure in measures.items():
        changed = 1 - np.array(same[name], float)
        # Some scores count other things than examples, and so have other clusters.
        theirs = clusters if len(clusters) == len(changed) else range(len(changed))
        yield Group(
            name,
            value(measure, clusters),
            interval(measure, clusters, resamples=resamples),
            differences[name],
            p_values.get(name),
            float(100 * changed.mean()),
            interval(mean_of(changed), theirs, resamples=resamples),
        )
