"""The properties of encoding and decoding, over 24,000 passages of arbitrary Unicode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_in_long_form() -> None:
    """Three properties, two tokenizers, and 4,000 passages each; the seed is another one every time."""
    file = Path(__file__).with_name("test_encode_decode.py")
    options = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--hypothesis-profile=long"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
