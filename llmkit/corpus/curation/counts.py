"""What became of the documents, from the stats that datatrove writes for each task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from llmkit.corpus.curation.plan import DUPLICATE, Plan


def counts_of(plan: Plan) -> dict[str, Any]:
    """How many documents, and bytes of them, were read and kept, and how many were removed, by reason."""
    counts = Counter(dict.fromkeys(("documents", "bytes", "kept", "kept_bytes"), 0))
    removed: Counter[str] = Counter()
    for steps in _stats(plan, plan.stages[0]):
        counts["documents"] += steps[0].get("total", 0)
        counts["bytes"] += steps[0].get("bytes", 0)
        for why, step in zip(plan.filters, steps[1:], strict=False):
            removed[why] += step.get("dropped", 0)
    last = plan.stages[-1]
    for steps in _stats(plan, last):
        step = steps[2] if plan.recipe.duplicates.remove else steps[1 + len(plan.filters)]
        counts["kept"] += step.get("total", 0)
        counts["kept_bytes"] += step.get("bytes", 0)
        if plan.recipe.duplicates.remove:
            removed[DUPLICATE] += steps[1].get("dropped", 0)
    return {**counts, "removed": dict(removed)}


def _stats(plan: Plan, stage: str) -> Iterator[list[dict[str, int]]]:
    """The numbers of each step of a stage, for each task."""
    for file in sorted((plan.stage_folder(stage) / "stats").glob("*.json")):
        yield [
            {name: int(value["total"] if isinstance(value, dict) else value) for name, value in step["stats"].items()}
            for step in json.loads(file.read_text(encoding="utf-8"))
        ]
