"""Contamination: which examples a model may have seen in training, and its score on the others.

Word n-grams after Brown et al. 2020 (GPT-3), near duplicates after Lee et al. 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.evidence.audit.audited import Audited, AuditTable, Wanted
from llmkit.evidence.audit.overlap import Pair, overlap
from llmkit.evidence.audit.sources import sources_of
from llmkit.evidence.audit.subset_scores import Scorer, Split, SubsetScore, plain
from llmkit.tasks.bootstrap import percent_interval
from llmkit.tasks.score_tables import interval_text
from llmkit.tasks.values import Array

SHOWN = 5  # pairs of texts of a source


@dataclass(frozen=True)
class Row:
    """What was found in one way. `share` is that of touched examples, in percent, with its interval."""

    found_by: str
    content: str
    touched: list[str]
    share: float
    share_interval: list[float] | None
    scores: Split

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        scores = {side: {name: plain(of) for name, of in found.items()} for side, found in vars(self.scores).items()}
        return {**vars(self), "scores": scores}


@dataclass(frozen=True)
class InSource:
    """What was found in one source; `source` is its name."""

    source: str
    rows: list[Row]
    pairs: list[Pair]


@dataclass(frozen=True)
class Contamination:
    """See Result in audited.py. `metric` is the score that tables show, `item` what an example is called.
    `unknown` are sentences on training data that could not be looked in."""

    examples: int
    item: str
    metric: str
    unit: str
    sources: list[InSource]
    unknown: list[str]

    def as_row(self) -> dict[str, Any]:
        """See Result."""
        return {
            "metric": self.metric,
            "examples": self.examples,
            "unknown": self.unknown,
            "sources": [
                {
                    "source": found.source,
                    "rows": [row.as_row() for row in found.rows],
                    "pairs": [pair.as_row() for pair in found.pairs],
                }
                for found in self.sources
            ],
        }

    def tables(self) -> list[AuditTable]:
        """See Result."""
        columns = ["found by", ">touched", *(f">score, {side}" for side in _SIDES), ">clean − touched", ">p"]
        return [
            AuditTable(f"In the {of.source}; score: {self.metric}", columns, [*map(self._cells, of.rows)])
            for of in self.sources
        ]

    def _cells(self, row: Row) -> list[str]:
        """A row of a table. Intervals are on a second line, or it would be too wide to read."""
        clean, touched = (getattr(row.scores, side).get(self.metric) for side in _SIDES)
        gap = row.scores.gaps.get(self.metric)
        return [
            f"{row.found_by}\n{row.content}",
            f"{len(row.touched):,}, {row.share:.2f} %\n{interval_text(row.share_interval)}",
            *(f"{of.value:.2f}\n{interval_text(of.interval)}" if of else "" for of in (clean, touched)),
            f"{gap.value:+.2f}\n{interval_text(gap.interval)}" if gap else "",
            f"{gap.p_value:.4f}" if gap and gap.p_value is not None else "",
        ]

    def notes(self) -> Sequence[str]:
        """See Result."""
        overall = self.sources[0].rows[0].scores.all[self.metric]
        return [
            f"{self.metric} of all {self.examples:,} {self.item}s, {self.unit}: {_score(overall)}. Intervals are 95 %.",
            "An example is touched if one of its n-grams of words is in the source; where it has fewer words, all of "
            "it. Near duplicates share at least 0.8 of their runs of 5 characters.",
            *self.unknown,
        ]

    def shown(self) -> Iterator[str]:
        """See Result: pairs of texts."""
        for found in self.sources:
            if found.pairs:
                yield f"\nMost shared words, in the {found.source}"
            for pair in found.pairs[:SHOWN]:
                near = f", similarity {pair.similarity:.2f}" if pair.similarity else ""
                yield f"{pair.example}, {pair.content}: {pair.words} of its {pair.of_words} words{near}"
                yield f"  evaluated  {pair.text}"
                yield f"  trained    {pair.found}"


_SIDES = ("clean", "touched")


def _score(score: SubsetScore | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.2f}" + (f" ({interval_text(score.interval)})" if score.interval else "")


def audit(audited: Audited, wanted: Wanted) -> Contamination:
    """Look for the audited examples in all that the model is known to be trained on. Raises UserError."""
    sources, unknown = sources_of(audited, wanted.corpus)
    contents, ids = audited.task.contents(audited.examples), audited.examples["id"][:]
    scorer, task = Scorer(audited), audited.task
    found = []
    for source in sources:
        there = overlap(contents, ids, source)
        rows = [_row(name, content, mask, ids, scorer) for (name, content), mask in there.touched.items()]
        found.append(InSource(source.name, rows, there.pairs))
    return Contamination(len(ids), task.item, scorer.metric, task.score_unit, found, unknown)


def _row(found_by: str, content: str, touched: Array, ids: Sequence[str], scorer: Scorer) -> Row:
    share, names = (
        float(100 * touched[scorer.scored].mean()),
        [example for example, its in zip(ids, touched, strict=True) if its],
    )
    ends = percent_interval(touched[scorer.scored], scorer.groups)
    return Row(found_by, content, names, share, ends, scorer.split(touched))
