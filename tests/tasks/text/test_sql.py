"""Queries are compared by what they give, and can do no harm."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from llmkit.system.errors import UserError
from llmkit.tasks.text.sql import same_result


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "shop #1?.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE ship (name TEXT, year INTEGER)")
    connection.executemany("INSERT INTO ship VALUES (?, ?)", [("Ada", 1820), ("Bee", 1790), ("Cog", 1790)])
    connection.commit()
    connection.close()
    return file


@pytest.mark.parametrize(
    ("written", "wanted", "same"),
    [
        ("select name from ship where year < 1800", "SELECT name FROM ship WHERE year = 1790", True),
        ("select name from ship order by name desc", "SELECT name FROM ship", True),
        ("select name from ship", "SELECT name FROM ship ORDER  BY name desc", False),
        ("select name from ship order by name desc", "SELECT name FROM ship ORDER BY name desc", True),
        ("select year from ship where year < 1800", "SELECT DISTINCT year FROM ship WHERE year < 1800", False),
        ("select count(*), max(year) from ship", "SELECT 3, 1820", True),
        ("select 1 ;", "SELECT 1", True),
        ("selec", "SELECT 1", False),
        ("", "SELECT 1", False),
        ("select '\0'", "SELECT 1", False),
        ("select nothing from ship", "SELECT 1", False),
    ],
)
def test_queries_are_compared_by_what_they_give(written: str, wanted: str, same: bool, database: Path) -> None:
    assert same_result(written, wanted, database, "q1") is same


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE ship",
        "INSERT INTO ship VALUES ('x', 1)",
        "ATTACH 'stolen.sqlite' AS other",
        "PRAGMA writable_schema = 1",
        "VACUUM INTO 'copy.sqlite'",
        "SELECT load_extension('x')",
        "CREATE TEMP TABLE t (x)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 200000",
    ],
)
def test_a_query_can_do_no_harm(query: str, database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    before = database.read_bytes()
    began = time.monotonic()
    assert same_result(query, "SELECT 1", database, "q1") is False
    assert time.monotonic() - began < 60
    assert database.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [database.name]


def test_a_target_that_cannot_be_run_is_named(database: Path) -> None:
    with pytest.raises(UserError, match=r"the target of q7 cannot be run on .*no such table"):
        same_result("SELECT 1", "SELECT * FROM boat", database, "q7")
