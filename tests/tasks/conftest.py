"""Tests of tasks leave no tasks behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.runs import untraced_exports as untraced_exports  # a fixture for all tests here

from llmkit.tasks import TASKS, user_tasks


@contextmanager
def _own_tasks() -> Iterator[None]:
    before = dict(TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_tasks, "_loaded", {})
        yield
    TASKS.clear()
    TASKS.update(before)
    sys.modules.pop(user_tasks.MODULE, None)


@pytest.fixture
def own_tasks() -> Iterator[None]:
    """The test may use files of tasks; what they add to TASKS is gone after it."""
    with _own_tasks():
        yield


@pytest.fixture(scope="module")
def own_tasks_of_module() -> Iterator[None]:
    """The same, for a module of tests."""
    with _own_tasks():
        yield
