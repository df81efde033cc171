"""Corpora and tokenizers from the Hub, and every way in which the Hub can say no: one message each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import documents_of
from support.hub import StandInHub, hub_environ, silent_endpoint
from support.hub_process import Ran, command, in_one_process
from support.hub_repos import (
    COMMON_PAGES,
    ENGLISH_ARTICLES,
    SENTENCES,
    SIMPLE_ARTICLES,
    TEXT_SCHEMA,
    WEB_PAGES,
    add_bert,
    add_bookcorpus,
    add_c4,
    add_fineweb_edu,
    add_wikipedia,
    parquet,
)

from llmkit.corpus.shards import TokenShards, read_manifest
from llmkit.corpus.tokenizer import load_tokenizer

pytestmark = pytest.mark.oldest

BERT = "tokenizer.path=google-bert/bert-base-uncased"


def add_others(hub: StandInHub) -> None:
    def rows(values: list[Any], name: str, kind: Any) -> dict[str, bytes]:
        return {"data.parquet": parquet([{name: value} for value in values], pa.schema({name: kind}))}

    hub.add_dataset("me/nulls", rows(["a ship", None, "a town"], "text", pa.string()))
    hub.add_dataset("me/numbers", rows([1, 2], "text", pa.int64()))
    hub.add_dataset("me/aggregated", rows(["a ship"], "body", pa.string()))
    hub.add_dataset("me/gated", {"data.parquet": parquet([{"text": "a ship"}], TEXT_SCHEMA)}, gated=True)
    hub.add_dataset("me/lines", {"data.jsonl": b'{"body": "a ship"}\n{"body": "a town"}\n'})
    hub.add_dataset("me/pictures", {"README.md": b"# Pictures\n", "a.bin": b"\x00"})
    hub.add_dataset("me/notes", {"notes.parquet": b"not parquet"})


GOOD = {
    "wikipedia": ["-c", "wikipedia"],
    "another config": ["-c", "wikipedia,name=20231101.simple"],
    "bookcorpus": ["-c", "bookcorpus"],
    "fineweb-edu": ["-c", "fineweb-edu"],
    "c4": ["-c", "c4"],
    "another column": ["-c", "me/lines,text_column=body"],
    "nulls": ["-c", "me/nulls"],
    "several": ["-c", "wikipedia", "-c", "bookcorpus,weight=2"],
}
EXPECTED = {
    "wikipedia": [row["text"] for row in ENGLISH_ARTICLES],
    "another config": [row["text"] for row in SIMPLE_ARTICLES],
    # In two files: no document is of both.
    "bookcorpus": [" ".join(row["text"] for row in part) for part in (SENTENCES[:3], SENTENCES[3:])],
    "fineweb-edu": [row["text"] for row in WEB_PAGES],
    "c4": [row["text"] for row in COMMON_PAGES],
    "another column": ["a ship", "a town"],
    "nulls": ["a ship", "a town"],
}
BAD = {
    "no such config": (["-c", "wikipedia,name=en"], "wikimedia/wikipedia: BuilderConfig 'en' not found. Available:"),
    "no config": (["-c", "wikimedia/wikipedia"], "Please pick one among the available configs: ['20231101.en'"),
    "no such split": (["-c", "wikipedia,split=test"], "Bad split: test. Available splits: ['train']"),
    "no such revision": (["-c", "wikipedia,revision=v9"], "wikimedia/wikipedia has no such revision"),
    "no such repository": (["-c", "me/none"], "me/none does not exist"),
    "no such column": (["-c", "me/aggregated"], "me/aggregated has no column 'text'; columns are body"),
    "no text": (["-c", "me/numbers"], "me/numbers: column 'text' does not hold text"),
    "gated": (["-c", "me/gated"], "me/gated is gated"),
    "script": (["-c", "bookcorpus/bookcorpus"], "revision=refs/convert/parquet"),
    "nothing to read": (["-c", "me/pictures"], "me/pictures: "),
    "damaged": (["-c", "me/notes"], "me/notes"),
    "no such tokenizer": (["-c", "a.txt", "tokenizer.path=me/none"], "me/none does not exist"),
}


@dataclass(frozen=True)
class Answers:
    """The folder and the environment in which all commands ran, and how they ended."""

    folder: Path
    environment: dict[str, str]
    ran: dict[str, Ran]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("hub")
    (folder / "a.txt").write_text("a ship")
    steps = {name: command("tokenize", *arguments, BERT, "-o", name) for name, arguments in GOOD.items()}
    for name, (arguments, _) in BAD.items():
        own = any(argument.startswith("tokenizer.path") for argument in arguments)
        steps[name] = command("tokenize", *arguments, *([] if own else [BERT]), "-o", name)
    steps["again"] = command("tokenize", *GOOD["wikipedia"], BERT, "-o", "wikipedia")
    steps["cached"] = command("tokenize", *GOOD["wikipedia"], BERT)
    steps["own vocabulary"] = command("tokenize", *GOOD["several"], "tokenizer.vocab_size=300", "-o", "own")
    with StandInHub() as hub:
        add_wikipedia(hub)
        add_bookcorpus(hub)
        add_fineweb_edu(hub)
        add_c4(hub)
        add_bert(hub)
        add_others(hub)
        environment = hub.environ(folder / "hf")
        return Answers(folder, environment, in_one_process(environment, folder, steps))


@pytest.mark.parametrize("name", EXPECTED)
def test_documents_are_those_on_the_hub(name: str, answers: Answers) -> None:
    folder, ran = answers.folder, answers.ran
    assert ran[name].code == 0, ran[name].err
    tokenizer = load_tokenizer(str(folder / name / "tokenizer"))
    found: list[int] = []
    for split in ("train", "validation"):  # of a few documents, the end is held out
        found += chain(*documents_of(TokenShards(folder / name, split)))
    assert found == list(chain(*(tokenizer(text)["input_ids"] for text in EXPECTED[name])))


def test_several_sources_and_what_is_there_already(answers: Answers) -> None:
    manifest = read_manifest(answers.folder / "several")
    assert [(source["path"], source["weight"]) for source in manifest["sources"]] == [
        ("wikipedia", 1.0),
        ("bookcorpus", 2.0),
    ]
    assert all(len(source["commit"]) == 40 for source in manifest["key"]["sources"])
    assert "already tokenized: wikipedia" in answers.ran["again"].err


@pytest.mark.parametrize("name", BAD)
def test_one_message(name: str, answers: Answers) -> None:
    answer = answers.ran[name]
    assert BAD[name][1] in answer.err
    assert "Traceback" not in answer.err
    assert answer.err.count("error:") == 1
    assert (answer.code, answer.out) == (1, "")
    assert not (answers.folder / name).exists()


def test_a_vocabulary_is_trained_on_corpora_of_the_hub(answers: Answers) -> None:
    assert answers.ran["own vocabulary"].code == 0, answers.ran["own vocabulary"].err
    manifest = read_manifest(answers.folder / "own")
    wikipedia, bookcorpus = manifest["sources"]
    assert wikipedia["content"]["name"] == "20231101.en"
    assert bookcorpus["content"]["revision"] == "refs/convert/parquet"
    # Every article, and a document for each of the two files of BookCorpus.
    assert manifest["documents"] == len(ENGLISH_ARTICLES) + 2
    assert len(load_tokenizer(str(answers.folder / "own" / "tokenizer"))) <= 300


def check_that_nothing_answers(ran: Ran, url: str, name: str) -> None:
    assert f"the Hub at {url} cannot be reached, and {name} was not downloaded before" in ran.err
    assert ran.code == 1
    assert ran.err.count("error:") == 1
    # Of the libraries' own ways to find out, one takes half a minute and one never ends.
    assert ran.seconds < 20


def test_a_hub_that_is_gone(answers: Answers) -> None:
    """What was tokenized is found without it; what was never downloaded is named."""
    steps = {
        "cached": command("tokenize", *GOOD["wikipedia"], BERT),
        "me/never": command("tokenize", "-c", "me/never"),
        "me/tokenizer": command("tokenize", "-c", "a.txt", "tokenizer.path=me/tokenizer"),
    }
    ran = in_one_process(answers.environment, answers.folder, steps)
    cached = ran.pop("cached")
    assert cached.code == 0, cached.err
    assert cached.out == answers.ran["cached"].out
    assert "cannot be reached" in cached.err
    assert "already tokenized" in cached.err
    for name, refused in ran.items():
        check_that_nothing_answers(refused, answers.environment["HF_ENDPOINT"], name)


@pytest.mark.slow
def test_a_hub_that_is_silent(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a ship")
    steps = {
        "wikimedia/wikipedia": command("tokenize", "-c", "wikipedia"),
        "google-bert/bert-base-uncased": command("tokenize", "-c", "a.txt", BERT),
    }
    with silent_endpoint() as url:
        ran = in_one_process(hub_environ(url, tmp_path / "hf"), tmp_path, steps)
    for name, refused in ran.items():
        check_that_nothing_answers(refused, url, name)
