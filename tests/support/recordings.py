"""What official scripts answered, recorded by tests/record_official_scores.py."""

from __future__ import annotations

import gzip
import json
from typing import Any

from support import DATA


def recorded(name: str) -> Any:
    """A recording: a list with an item a line, or one document."""
    text = gzip.decompress((DATA / name).read_bytes()).decode()
    return [json.loads(line) for line in text.split("\n")[:-1]] if ".jsonl" in name else json.loads(text)
