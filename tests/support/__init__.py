"""What tests share."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"  # recorded outputs of official scripts
DOCS = ROOT / "docs"
