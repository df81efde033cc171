"""Compare the results of SQL queries, on a read-only SQLite database."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llmkit.system.errors import UserError

MAX_STEPS = 20_000_000  # of SQLite's virtual machine per query: a few seconds
STEPS_PER_CHECK = 100_000
MAX_ROWS = 100_000  # in a result

Rows = list[tuple[Any, ...]]

# What a reading query needs. This excludes ATTACH, PRAGMA, extensions and writes.
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def same_result(query: str, gold: str, database: Path, name: str) -> bool:
    """Whether two queries give the same rows: in the same order if the gold query has an ORDER BY.

    False if the query fails, writes, or takes too long. Raises UserError if the gold query does; `name` is the id of
    the example, for the message.
    """
    try:
        expected = _rows(gold, database)
    except sqlite3.Error as error:
        raise UserError(
            f"the target of {name} cannot be run on {database}: {error}",
            remedy="correct data.database, or leave it out to compare queries as texts",
        ) from None
    try:
        found = _rows(query, database)
    except (sqlite3.Error, ValueError):  # ValueError: the query contains a NUL character
        return False
    if "order by" in " ".join(gold.lower().split()):
        return found == expected
    return Counter(found) == Counter(expected)


def _rows(query: str, database: Path) -> Rows:
    # `immutable` tells SQLite that nothing else writes to the file, so it needs no lock and no journal.
    uri = f"file:{quote(str(database.resolve()))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
        checks = iter(range(MAX_STEPS // STEPS_PER_CHECK))
        connection.set_progress_handler(lambda: next(checks, None) is None, STEPS_PER_CHECK)
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
        rows: Rows = connection.execute(query).fetchmany(MAX_ROWS + 1)
        if len(rows) > MAX_ROWS:
            raise sqlite3.OperationalError(f"more than {MAX_ROWS:,} rows")
        return rows
