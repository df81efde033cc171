"""Folders that `datasets` wrote with `save_to_disk`: one dataset, or a folder with one dataset per split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmkit.system.errors import UserError
from llmkit.system.files import parse_json, read_text
from llmkit.tasks.rows.classes import with_names
from llmkit.tasks.values import LocatedRow


def is_saved(folder: Path) -> bool:
    """Whether a folder is one saved dataset, without splits."""
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def saved_splits(folder: Path) -> list[str]:
    """The names of the splits of a saved dataset, each a saved dataset in a folder of that name. Empty for others."""
    file = folder / "dataset_dict.json"
    splits: list[str] = parse_json(read_text(file), file).get("splits", []) if file.is_file() else []
    return splits


def saved_rows(folder: Path) -> Iterator[LocatedRow]:
    """The rows of one saved dataset, with the names of labels. Raises UserError if it is damaged."""
    from datasets import Dataset

    try:
        rows = Dataset.load_from_disk(str(folder))
        for number, row in enumerate(rows):
            yield f"{folder} row {number}", with_names(row, rows.features)
    except Exception as error:  # damaged folders raise errors of many kinds
        raise UserError(
            f"{folder}: not readable as a dataset of `save_to_disk`: {error}",
            remedy="save it again; as .parquet files it can be read too",
        ) from error
