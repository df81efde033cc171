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
            # The Hub's parquet conversion has a folder for each configuration, and no README.md that names them.
            converted = data.revision == "refs/convert/parquet"
            part = {"data_dir": data.name} if converted else {"name": data.name}
            rows = load_dataset(data.path, split=split, revision=data.revision, **part)
    except ValueError as error:  # an unknown split or configuration
        remedy = "choose a configuration with data.name=NAME; `llmkit eval` takes another split with --split"
        if split == "train":
            remedy = (
                "choose a configuration with data.name=NAME, or fine-tune on other data and score the run on this: "
                "llmkit eval RUN"
            )
        raise UserError(f"{data.path}: {' '.join(str(error).splitlines()[:2])}", remedy=remedy) from error
    return ((f"{data.path} [{split}] row {number}", with_names(row, rows.features)) for number, row in enumerate(rows))
