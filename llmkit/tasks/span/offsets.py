"""Where the tokens of windows are in their passages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from llmkit.tasks.columns import Columns
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from datasets import Dataset


def offsets_of(features: Dataset | Columns) -> Iterator[Array]:
    """The offsets of each feature, [tokens, 2]. Those of a Dataset are read a thousand features at a time."""
    if isinstance(features, Columns):
        yield from (np.reshape(offsets, (-1, 2)) for offsets in features["offsets"])
        return
    for table in features.select_columns("offsets").with_format("arrow").iter(1000):
        for column in table["offsets"].chunks:
            flat, ends = column.flatten().to_numpy(), np.cumsum(column.value_lengths().to_numpy())
            yield from (part.reshape(-1, 2) for part in np.split(flat, ends[:-1]))
