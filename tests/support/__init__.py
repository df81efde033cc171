"""What tests share."""

from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"  # recorded outputs of official scripts
DOCS = ROOT / "docs"

Command = Callable[..., tuple[int, str, str]]  # what the fixture `llmkit` gives: arguments → exit code, stdout, stderr
