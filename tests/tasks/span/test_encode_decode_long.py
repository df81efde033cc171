"""The properties of encoding and decoding, over 110,000 passages of arbitrary Unicode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tokenizer_families import FAMILIES


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_in_long_form(family: str) -> None:
    """400 times 25 passages with their answers, and 1,600 more; the seed is another one every time."""
    file = Path(__file__).with_name("test_encode_decode.py")
    names = ("test_answers_come_back", "test_windows_are_those_of_the_library")
    options = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--hypothesis-profile=long"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"{file}::{name}[{family}]" for name in names)],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
