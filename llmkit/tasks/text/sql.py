"""What an SQL query gives, on an SQLite database that nothing can write to."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llmkit.system.errors import UserError

STEPS = 20_000_000  # of SQLite's virtual machine, for one query: some seconds
STEPS_BETWEEN_LOOKS = 100_000
ROWS = 100_000  # in a result

Rows = list[tuple[Any, ...]]

# All that a query which only reads asks for. No ATTACH, no PRAGMA, no loading of extensions, no writing.
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def same_result(written: str, wanted: str, database: Path, name: str) -> bool:
    """Whether two queries give the same rows: in the same order where the wanted query asks for one.

    A written query that fails, writes, or takes too long gives nothing. Raises UserError where the wanted one does;
    `name` says which example that was.
    """
    try:
        expected = _rows(wanted, database)
    except sqlite3.Error as error:
        raise UserError(
            f"the target of {name} cannot be run on {database}: {error}",
            remedy="correct data.database, or leave it out: then queries are compared as texts",
        ) from None
    try:
        found = _rows(written, database)
    except (sqlite3.Error, ValueError):  # ValueError: a NUL in the query
        return False
    if "order by" in " ".join(wanted.lower().split()):
        return found == expected
    return Counter(found) == Counter(expected)


def _rows(query: str, database: Path) -> Rows:
    # Read-only, and nobody else writes to it meanwhile: no lock, no journal, no file beside it.
    uri = f"file:{quote(str(database.resolve()))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
        looks = iter(range(STEPS // STEPS_BETWEEN_LOOKS))
        connection.set_progress_handler(lambda: next(looks, None) is None, STEPS_BETWEEN_LOOKS)
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY)
        rows: Rows = connection.execute(query).fetchmany(ROWS + 1)
        if len(rows) > ROWS:
            raise sqlite3.OperationalError(f"more than {ROWS:,} rows")
        return rows
