"""Gold labels that may be wrong."""

from __future__ import annotations

from llmkit.evidence.label_errors import suspects
from llmkit.evidence.page import fragment
from llmkit.evidence.report.reported import Reported, Section

SHOWN = 100
OPEN = 10  # that are shown at once


def section(reported: Reported) -> Section | None:
    """The most suspect gold labels. None if the task has no labels."""
    review = reported.review
    found = suspects(review.labellings())
    if found is None and not review.unlabelled:
        return None
    shown = [
        (suspect, reported.ids[suspect.example], review.case(suspect.example))
        for suspect in (found.found[:SHOWN] if found else [])
    ]
    markup = fragment("report_label_errors.html", found=found, shown=shown, open=OPEN, why=review.unlabelled)
    said = []
    if found and found.found:
        share = len(found.found) / found.rows
        said = [
            f"Gold labels: {len(found.found):,} of {found.rows:,} ({share:.1%}) are suspect; see the section below."
        ]
    return Section("Suspect labels", "label-errors", markup, said)
