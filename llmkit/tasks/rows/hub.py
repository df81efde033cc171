"""The rows of a dataset on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmkit.system.errors import UserError
from llmkit.system.hub import reading_from_the_hub
from llmkit.tasks.rows.classes import with_names
from llmkit.tasks.values import LocatedRow

if TYPE_CHECKING:
    from llmkit.recipes.finetuning import DataSection


def hub_rows(data: DataSection, split: str) -> Iterator[LocatedRow]:
    """The rows of a split, with the names of labels. Raises UserError for an unknown split or configuration."""
    from datasets import load_dataset

    assert data.path is not None
    try:
        with reading_from_the_hub("dataset", data.path, data.revision):
            rows = load_dataset(data.path, data.name, split=split, revision=data.revision)
    except ValueError as error:  # an unknown split or configuration
        raise UserError(
            f"{data.path}: {' '.join(str(error).splitlines()[:2])}",
            remedy="choose a configuration with data.name=NAME; `llmkit eval` takes another split with --split",
        ) from error
    return ((f"{data.path} [{split}] row {number}", with_names(row, rows.features)) for number, row in enumerate(rows))
