"""Read the rows of a split from where the data section says they are: the demo, local files, or the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from llmkit.system.errors import UserError
from llmkit.tasks.rows.formats import file_rows
from llmkit.tasks.rows.hub import hub_rows
from llmkit.tasks.rows.splits import split_files
from llmkit.tasks.values import LocatedRow

if TYPE_CHECKING:
    from llmkit.recipes.finetuning import DataSection

DEMO = "demo"  # the place of the demo's rows, which also have the column `second_candidate`


def rows_of(data: DataSection, split: str, part: str, columns: Sequence[str]) -> Iterator[LocatedRow]:
    """The rows of `part`, one of the dataset's splits that make up `split` (see Task.splits).

    `columns` are the expected ones. Raises UserError if the split or a file is missing or unreadable.
    """
    if data.path == "demo":
        return _demo_rows(split)
    files = split_files(data, split, part)
    if files is not None:
        return chain.from_iterable(file_rows(file, columns) for file in files)
    if data.path is None:
        raise UserError(f"no {split} data is given", remedy=f"name a file: data.{split}=PATH")
    return hub_rows(data, part)


def _demo_rows(split: str) -> Iterator[LocatedRow]:
    from llmkit.corpus.demo.data import questions

    if split not in ("train", "validation"):
        raise UserError(f"the demo has no split {split!r}", remedy="its splits are train and validation")
    return ((DEMO, row) for row in questions("train" if split == "train" else "validation"))
