"""What the tests of the benchmarks share: where they are, and how to import one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Load = Callable[[str], ModuleType]
