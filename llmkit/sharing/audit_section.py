"""The section of a model card with what `llmkit audit` found: the tables in the run's audit.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmkit.sharing.redact import shareable
from llmkit.system.cache import file_fingerprint
from llmkit.system.errors import UserError
from llmkit.system.run_folder import AUDIT, RunDir

# Comments around the section: an audit replaces it in a card that its author has edited, and touches nothing else.
BEGIN, END = "<!-- llmkit audit -->", "<!-- end of llmkit audit -->"
_BEFORE = "## Known limits"


def with_audit(card: str, run: RunDir) -> str:
    """The card with what audits of the run found, in place of an earlier section. Raises UserError."""
    if BEGIN in card and END in card:
        before, _, rest = card.partition(BEGIN)
        card = before.rstrip("\n") + "\n\n" + rest.partition(END)[2].lstrip("\n")
    section = _section(run)
    if not section:
        return card
    before, heading, after = card.partition(f"\n{_BEFORE}")
    return f"{before.rstrip()}\n\n{section}\n{heading}{after}"


def _section(run: RunDir) -> str:
    """The section; empty without audits. Those of the model before it was trained further do not count."""
    file = run.path / AUDIT
    if not file.is_file():
        return ""
    scores = file_fingerprint(run.path / "metrics.json")
    try:
        parts = [part for part in shareable(json.loads(file.read_text("utf-8")))["parts"].values()]
        found = [block for part in parts if part["scores"] == scores for block in _part(part)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged: {error}", remedy="delete it, and audit the run again") from None
    return "\n\n".join([BEGIN, "## Audit", *found, END]) if found else ""


def _part(part: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {part['title']}"
    yield f"{part['about']}, on {part['date']}."
    for table in part["tables"]:
        yield f"{table['title']}:"
        yield _table(table["columns"], table["rows"])
    yield from part["notes"]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown. In texts, a vertical bar would end a cell, and a new line the row."""
    sides = ["---:" if column.startswith(">") else "---" for column in columns]
    lines = [[column.removeprefix(">") for column in columns], sides, *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", "<br>") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
