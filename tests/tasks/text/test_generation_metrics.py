"""Scores of written texts, and queries that can do no harm."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
import sacrebleu

from llmkit.system.errors import UserError
from llmkit.tasks.text.generation_metrics import bleu_and_chrf, rouge
from llmkit.tasks.text.sql import same_result

pytestmark = pytest.mark.oldest


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


def test_rouge_and_bleu_are_those_of_their_libraries() -> None:
    texts = ["The ships sailed.", "A dog runs over the green grass.", "nothing alike"]
    others = ["The ship sails.", "A dog runs over the grass.", "zzz"]
    found = rouge(texts, others)
    assert found["rouge1"] == pytest.approx([1.0, 12 / 13, 0.0]), "sailed and sails have one stem"
    assert found["rouge2"][1] == pytest.approx(2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5))
    assert {name: values[0] for name, values in rouge(texts, texts).items()} == pytest.approx(
        dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), 1.0)
    )
    scores = bleu_and_chrf(texts, texts)
    for name in ("bleu", "chrf"):
        official = getattr(sacrebleu, f"corpus_{name}")(others, [texts]).score
        assert bleu_and_chrf(others, texts)[name] == pytest.approx(official)
    assert scores["bleu"] == pytest.approx(100.0)
    assert scores["chrf"] == pytest.approx(100.0)
    assert "version:" in scores["bleu_signature"]
    worse = bleu_and_chrf(texts, others)
    low, high = worse["chrf_interval"]
    assert 0 <= low < high <= 100
    assert bleu_and_chrf(texts[:1], texts[:1])["bleu_interval"] is None
