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
    import pyarrow as pa
    from datasets import Dataset

    # What damaged metadata and damaged Arrow files raise.
    damage = (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException)

    def as_user_error(error: Exception) -> UserError:
        return UserError(
            f"{folder}: not readable as a dataset of `save_to_disk`: {error}",
            remedy="save it again; as .parquet files it can be read too",
        )

    try:
        dataset = Dataset.load_from_disk(str(folder))
    except damage as error:
        raise as_user_error(error) from error
    rows = iter(dataset)
    for number in range(len(dataset)):
        try:
            row = next(rows)
        except damage as error:
            raise as_user_error(error) from error
        yield f"{folder} row {number}", with_names(row, dataset.features)
