"""`llmkit audit`: what it finds in real runs, what it writes, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.runs import write_questions

pytest.importorskip("datasketch")


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """A copy of a folder with runs/bert, and runs/squad on squad.jsonl, which it was trained and evaluated on."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    return tmp_path


def audited(llmkit: Command, *arguments: str) -> dict[str, Any]:
    code, out, err = llmkit("audit", *arguments, "--part", "contamination", "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def contamination(found: dict[str, Any]) -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = found["parts"]["contamination"]["result"]["sources"]
    return sources


def message(llmkit: Command, *arguments: str) -> str:
    code, out, err = llmkit("audit", *arguments)
    assert (code, out) == (1, ""), err
    return err


def write_elsewhere(file: Path, planted: int) -> None:
    """Questions on passages that no training data has, but for the first ones, which are planted."""
    write_questions(file)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for number, row in enumerate(rows[planted:]):
        name = "".join(chr(ord("k") + int(digit)) for digit in f"{number:03d}")
        row["context"] = f"{name} ale {name} ber {name} cor {name} dun {name} eph {name} fio {name}"
        row["question"], row["answers"] = f"{name}?", {"text": ["ale"], "answer_start": [4]}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_run_on_the_same_examples_is_touched_everywhere(folder: Path, llmkit: Command) -> None:
    training, corpus = contamination(audited(llmkit, "runs/squad"))
    assert training["source"] == "training data of runs/squad: 24 questions"
    assert {(row["found_by"], row["content"]): row["share"] for row in training["rows"]} == {
        (by, content): 100.0
        for by in ("13-gram", "8-gram", "near duplicate")
        for content in ("question and passage", "question", "passage")
    }
    assert training["rows"][0]["scores"]["clean"] == {}
    assert training["rows"][0]["scores"]["all"] == training["rows"][0]["scores"]["touched"]
    # The corpus, which is in the cache, has each passage with its question; passages have 11 words.
    assert corpus["source"].startswith("pretraining corpus of runs/bert: ")
    shares = {row["found_by"]: row["share"] for row in corpus["rows"] if row["content"] == "passage"}
    assert shares == {"13-gram": 0.0, "8-gram": 100.0}


def test_planted_examples_of_other_data_are_found_with_scores_and_intervals(folder: Path, llmkit: Command) -> None:
    write_elsewhere(folder / "other.jsonl", planted=8)
    training, *_ = contamination(audited(llmkit, "runs/squad", "--data", "other.jsonl"))
    for row in training["rows"]:
        assert row["touched"] == [f"q{number}" for number in range(8)], row["found_by"]
        scores = row["scores"]
        assert set(scores["clean"]) == set(scores["touched"]) == set(scores["gaps"]) == {"exact_match", "f1"}
        for name, gap in scores["gaps"].items():
            assert gap["value"] == pytest.approx(scores["clean"][name]["value"] - scores["touched"][name]["value"])
            assert gap["interval"][0] <= gap["value"] <= gap["interval"][1]
    assert {pair["example"] for pair in training["pairs"]} <= {f"q{number}" for number in range(8)}


def test_an_audit_is_written_to_the_run_and_to_its_card_once(folder: Path, llmkit: Command) -> None:
    card = folder / "runs" / "squad" / "model" / "README.md"
    before = card.read_text() + "\nWritten by hand.\n"
    card.write_text(before)
    for _ in range(2):
        found = audited(llmkit, "runs/squad")
    assert json.loads((folder / "runs" / "squad" / "audit.json").read_text()) == found
    section = re.search(r"\n<!-- llmkit audit -->.*<!-- end of llmkit audit -->\n\n?", card.read_text(), re.DOTALL)
    assert section is not None
    assert card.read_text().count("## Audit") == 1
    assert card.read_text().replace(section[0], "\n", 1).split() == before.split()
    assert "24 questions of squad.jsonl (validation), on 20" in section[0]
    assert "| 13-gram<br>question and passage | 24, 100.00 %<br>100.00 to 100.00 |" in section[0]
    assert "Tom Reed" not in section[0]  # no texts of examples
    code, out, err = llmkit("push", "runs/squad", "jane/squad", "--dry-run")
    assert code == 0, err
    assert section[0].strip() in out


def test_an_audit_of_an_earlier_model_is_not_on_the_card(folder: Path, llmkit: Command) -> None:
    audited(llmkit, "runs/squad")
    metrics = folder / "runs" / "squad" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"f1": ', '"f1": 1', 1))
    (folder / "runs" / "squad" / "model" / "README.md").unlink()
    code, out, err = llmkit("push", "runs/squad", "jane/squad", "--dry-run")
    assert code == 0, err
    assert "## Audit" not in out
    assert "## Known limits" in out


def test_tables_and_pairs_are_printed_and_another_folder_written(folder: Path, llmkit: Command) -> None:
    code, out, err = llmkit("audit", "runs/squad", "--part", "contamination", "-o", "mine")
    assert code == 0, err
    assert "In the training data of runs/squad: 24 questions; score: f1" in out
    head, *lines = out.partition("score: f1\n")[2].partition("\n\n")[0].splitlines()
    assert head.split("  ")[0] == "found by"
    assert [line[:9].strip() for line in lines[:2]] == ["13-gram", "question"], "what was found is below how"
    assert max(map(len, [head, *lines])) <= 100
    assert "  evaluated  Tom Reed founded ambury in 1800." in out
    assert "  trained    Tom Reed founded ambury in 1800." in out
    assert "of all 24 questions, in percent" in err
    assert (folder / "mine" / "audit.json").is_file()
    assert not (folder / "runs" / "squad" / "audit.json").exists()


def test_the_corpus_is_that_which_the_user_names(folder: Path, llmkit: Command) -> None:
    lines = [
        "Tom Reed founded ambury in 1800. It lies by the sea.",
        *(f"Nobody did this {n} times." for n in range(60)),
    ]
    (folder / "short.txt").write_text("\n".join(lines))
    code, _, err = llmkit("tokenize", "-c", "short.txt", "-o", "shards", "tokenizer.path=runs/bert")
    assert code == 0, err
    _, corpus = contamination(audited(llmkit, "runs/squad", "--corpus", "shards"))
    assert re.fullmatch(r"pretraining corpus shards: \d+ documents", corpus["source"])
    passages = {row["found_by"]: row["touched"] for row in corpus["rows"] if row["content"] == "passage"}
    assert passages == {found_by: ["q0", "q1", "q2"] for found_by in ("13-gram", "8-gram")}


def test_what_cannot_be_audited_says_why(folder: Path, llmkit: Command) -> None:
    assert "no part 'contamnation' (did you mean contamination?)" in message(
        llmkit, "runs/squad", "--part", "contamnation"
    )
    assert "there is no contamination of runs/bert, which is not fine-tuned" in message(
        llmkit, "runs/bert", "--part", "contamination"
    )
    told = message(llmkit, "runs/squad/model", "--data", "squad.jsonl", "--part", "contamination")
    assert "runs/squad/model does not say what it was trained on" in told
    assert "data.train=FILE" in told
    (folder / "runs" / "squad" / "audit.json").write_text("[]")
    assert "is not an audit" in llmkit("audit", "runs/squad", "--part", "contamination")[2]
