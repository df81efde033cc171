"""The page of a report: its sections in order, and what stands out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llmkit.evidence.page import write_page
from llmkit.evidence.report import calibration, curves, errors, label_errors, recipe, scores, slices
from llmkit.evidence.report.reported import Logged, Reported, Section

# Of the predictions of a fine-tuned run, in the order of the page. Curves follow the scores.
SECTIONS: tuple[Callable[[Reported], Section | None], ...] = (
    slices.section,
    calibration.section,
    errors.section,
    label_errors.section,
)


def sections(runs: Sequence[Logged], reported: Reported | None) -> list[Section]:
    """The sections of a report. `reported` is the first run with its predictions; None if it has none."""
    return [section for section in _sections(runs, reported) if section is not None]


def write_report(runs: Sequence[Logged], reported: Reported | None, output: Path) -> list[Section]:
    """Write the page, and return its sections. Raises UserError if the disk does not take it."""
    found = sections(runs, reported)
    write_page(
        output,
        "report.html",
        title=runs[0].name,
        facts=_facts(runs, reported),
        said=[line for section in found for line in section.said],
        sections=found,
    )
    return found


def _sections(runs: Sequence[Logged], reported: Reported | None) -> Iterator[Section | None]:
    if reported is not None:
        yield scores.section(reported)
    elif runs[0].scores:
        yield scores.section_of_pretraining(runs[0])
    yield curves.section(runs)
    if reported is not None:
        yield from (of(reported) for of in SECTIONS)
    yield recipe.section(runs)


def _facts(runs: Sequence[Logged], reported: Reported | None) -> list[tuple[str, str]]:
    """What the page is about, by name."""
    model = runs[0].recipe["model"]
    found = []
    if reported is not None:
        found += [
            ("task", reported.task.title),
            ("scored on", f"{len(reported.ids):,} {reported.task.item}s of the validation split"),
        ]
    if model.get("pretrained"):
        found.append(("model", f"from {model['pretrained']}"))
    elif model.get("config"):
        found.append(("model", f"{model['config'].get('model_type', 'model')} with random weights"))
    if not runs[0].scores:
        found.append(("state", "not finished: curves so far"))
    return found
