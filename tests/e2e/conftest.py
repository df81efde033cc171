"""What the tests of the whole program share."""

from __future__ import annotations

import pytest
from support.runs import Material, demo_material
from support.runs import quick_collections as quick_collections  # a fixture


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Text, questions, token shards, and a pretrained model. Not to be changed: runs go elsewhere."""
    return demo_material(tmp_path_factory.mktemp("material"))
