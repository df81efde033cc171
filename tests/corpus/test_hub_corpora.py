"""Corpora and tokenizers from the Hub, and every way in which the Hub can say no: one message each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.hub import StandInHub, hub_environ, refusing_endpoint, silent_endpoint
from support.hub_repos import (
    ENGLISH_ARTICLES,
    SENTENCES,
    SIMPLE_ARTICLES,
    TEXT_SCHEMA,
    add_bert,
    add_bookcorpus,
    add_wikipedia,
    parquet,
)

from llmkit.corpus.shards import TokenShards, read_manifest
from llmkit.corpus.tokenizer import load_tokenizer

pytestmark = pytest.mark.oldest

# The Hub's address is read once a process, and a process takes seconds to start: it runs all commands.
DRIVER = """
import io, json, sys, time, traceback
from contextlib import redirect_stderr, redirect_stdout
import datasets
from transformers import AutoTokenizer
import llmkit.system.hub
from llmkit.cli.main import main

llmkit.system.hub.TIMEOUT = 1.0
for name, arguments in json.load(sys.stdin).items():
    sys.argv = ["llmkit", *arguments]
    out, err, code, began = io.StringIO(), io.StringIO(), 0, time.monotonic()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            code = -1
            traceback.print_exc()
    print(json.dumps([name, code, out.getvalue(), err.getvalue(), time.monotonic() - began]), flush=True)
"""
BERT = "tokenizer.path=google-bert/bert-base-uncased"


@dataclass(frozen=True)
class Ran:
    """What a command answered; `seconds` leaves out the start of the process and of the libraries."""

    code: int
    out: str
    err: str
    seconds: float


def run(environment: dict[str, str], folder: Path, commands: dict[str, list[str]]) -> dict[str, Ran]:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=folder,
        env={**environment, "LLMKIT_CACHE": str(folder / "cache")},
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return {name: Ran(*answer) for name, *answer in map(json.loads, done.stdout.splitlines())}


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
    "another column": ["-c", "me/lines,text_column=body"],
    "nulls": ["-c", "me/nulls"],
    "several": ["-c", "wikipedia", "-c", "bookcorpus,weight=2"],
}
EXPECTED = {
    "wikipedia": [row["text"] for row in ENGLISH_ARTICLES],
    "another config": [row["text"] for row in SIMPLE_ARTICLES],
    # In two files: no document is of both.
    "bookcorpus": [" ".join(row["text"] for row in part) for part in (SENTENCES[:3], SENTENCES[3:])],
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


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Ran]]:
    """The folder in which all commands ran, and what they answered."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "a.txt").write_text("a ship")
    commands = {name: ["tokenize", *arguments, BERT, "-o", name] for name, arguments in GOOD.items()}
    for name, (arguments, _) in BAD.items():
        own = any(argument.startswith("tokenizer.path") for argument in arguments)
        commands[name] = ["tokenize", *arguments, *([] if own else [BERT]), "-o", name]
    commands["again"] = ["tokenize", *GOOD["wikipedia"], BERT, "-o", "wikipedia"]
    with StandInHub() as hub:
        add_wikipedia(hub)
        add_bookcorpus(hub)
        add_bert(hub)
        add_others(hub)
        return folder, run(hub.environ(folder / "hf"), folder, commands)


@pytest.mark.parametrize("name", EXPECTED)
def test_documents_are_those_on_the_hub(name: str, answers: tuple[Path, dict[str, Ran]]) -> None:
    folder, ran = answers
    assert ran[name].code == 0, ran[name].err
    tokenizer = load_tokenizer(str(folder / name / "tokenizer"))
    found = []
    for split in ("validation", "train"):
        shards = TokenShards(folder / name, split)
        found += [shards.tokens(number, 0, int(shards.lengths[number])).tolist() for number in range(len(shards))]
    assert found == [tokenizer(text)["input_ids"] for text in EXPECTED[name]]


def test_several_sources_and_what_is_there_already(answers: tuple[Path, dict[str, Ran]]) -> None:
    folder, ran = answers
    manifest = read_manifest(folder / "several")
    assert [(source["path"], source["weight"]) for source in manifest["sources"]] == [
        ("wikipedia", 1.0),
        ("bookcorpus", 2.0),
    ]
    assert all(len(source["commit"]) == 40 for source in manifest["key"]["sources"])
    assert "already tokenized: wikipedia" in ran["again"].err


@pytest.mark.parametrize("name", BAD)
def test_one_message(name: str, answers: tuple[Path, dict[str, Ran]]) -> None:
    folder, ran = answers
    answer = ran[name]
    assert BAD[name][1] in answer.err
    assert "Traceback" not in answer.err
    assert answer.err.count("error:") == 1
    assert (answer.code, answer.out) == (1, "")
    assert not (folder / name).exists()


@pytest.mark.parametrize("endpoint", [refusing_endpoint, silent_endpoint])
def test_no_hub(endpoint: Callable[[], AbstractContextManager[str]], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a ship")
    commands = {
        "wikimedia/wikipedia": ["tokenize", "-c", "wikipedia"],
        "google-bert/bert-base-uncased": ["tokenize", "-c", "a.txt", BERT],
    }
    with endpoint() as url:
        ran = run(hub_environ(url, tmp_path / "hf"), tmp_path, commands)
    for name, answer in ran.items():
        assert f"the Hub at {url} cannot be reached, and {name} was not downloaded before" in answer.err
        assert answer.code == 1
        assert answer.err.count("error:") == 1
        # Of the libraries' own ways to find out, one takes half a minute and one never ends.
        assert answer.seconds < 20


def test_what_was_tokenized_is_found_without_the_hub(tmp_path: Path) -> None:
    tokenize = {"wikipedia": ["tokenize", "-c", "wikipedia", BERT]}
    with StandInHub() as hub:
        add_wikipedia(hub)
        add_bert(hub)
        environment = hub.environ(tmp_path / "hf")
        before = run(environment, tmp_path, tokenize)["wikipedia"]
    after = run(environment, tmp_path, tokenize)["wikipedia"]
    assert (before.code, after.code) == (0, 0), after.err
    assert after.out == before.out
    assert "cannot be reached" in after.err
    assert "already tokenized" in after.err
