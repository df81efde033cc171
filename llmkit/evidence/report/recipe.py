"""The recipe of the first run, and the keys in which others differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from llmkit.evidence.page import fragment
from llmkit.evidence.report.reported import Logged, Section
from llmkit.evidence.systems import differing_keys


def section(runs: Sequence[Logged]) -> Section:
    """The recipe as YAML; with several runs, a table of the keys that differ."""
    keys = differing_keys({run.name: run.recipe for run in runs}) if len(runs) > 1 else {}
    rows = [[key, *(_text(value) for value in values.values())] for key, values in keys.items()]
    markup = fragment(
        "report_recipe.html",
        names=[run.name for run in runs],
        rows=rows,
        recipe=yaml.safe_dump(dict(runs[0].recipe), sort_keys=False, allow_unicode=True),
    )
    return Section("Recipe", "recipe", markup)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
