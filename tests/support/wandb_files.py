"""Read what wandb keeps offline: a log of protobuf records, in LevelDB's format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[Any]:
    """The records of a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = file.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # too little for a header: the block ends here
            place += BLOCK - place % BLOCK
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + HEADER])
        if kind == 0:
            break
        assert kind in (FULL, FIRST, MIDDLE, LAST)
        parts += data[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
            parts = b""


def history(file: Path) -> list[dict[str, Any]]:
    """The rows that were logged."""
    rows = []
    for record in records(file):
        if record.HasField("history"):
            rows.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            )
    return rows


def merged(file: Path, kind: str) -> dict[str, Any]:
    """The configuration or the summary that the file adds up to."""
    found = {}
    for record in records(file):
        for part in (getattr(record, kind), getattr(record.run, kind)):
            found |= {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in part.update}
    return found
