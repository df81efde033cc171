"""STS-B and collections as the Hub holds them: their configurations, splits and columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.hub import StandInHub
from support.hub_process import Ran, command, examples, in_one_process
from support.hub_repos import columns, declared
from support.tasks import letters
from transformers import BertConfig, BertModel

PAIRS = [{"sentence1": f"ship {n}", "sentence2": f"ships {n}", "score": n / 4} for n in range(5)]
CORPUS = [{"_id": f"d{n}", "text": f"passage {n}"} for n in range(12)]
QUERIES = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(3)]
JUDGED = [{"query-id": f"q{n}", "corpus-id": f"d{n}"} for n in range(3)]
TITLED = [{**row, "title": "Ship"} for row in CORPUS]
GRADED = [{**row, "score": 1} for row in JUDGED]


def add_stsb(hub: StandInHub) -> None:
    kinds = [*columns("string", "sentence1 sentence2"), *columns("float64", "score")]
    hub.add_dataset("sentence-transformers/stsb", declared({"default": (kinds, dict.fromkeys(SPLITS, PAIRS))}))


SPLITS = ("train", "validation", "test")


def add_nano(hub: StandInHub) -> None:
    """As in NanoBEIR: one split, `train`, of each configuration."""
    text, judged = columns("string", "_id text"), columns("string", "query-id corpus-id")
    parts = {"corpus": (text, CORPUS), "queries": (text, QUERIES), "qrels": (judged, JUDGED)}
    hub.add_dataset(
        "zeta-alpha-ai/NanoNFCorpus",
        declared({name: (kinds, {"train": rows}) for name, (kinds, rows) in parts.items()}),
    )


def add_mteb(hub: StandInHub) -> None:
    """As in MTEB: judgements are the configuration `default`, and documents have titles."""
    judged = [*columns("string", "query-id corpus-id"), *columns("float64", "score")]
    configs: dict[str, Any] = {
        "corpus": (columns("string", "_id text title"), {"corpus": TITLED}),
        "queries": (columns("string", "_id text"), {"queries": QUERIES}),
        "default": (judged, {"train": GRADED[:1], "test": GRADED[1:]}),
    }
    hub.add_dataset("mteb/scifact", declared(configs))


def add_beir(hub: StandInHub) -> None:
    """As in BEIR, whose judgements are another dataset."""
    text = columns("string", "_id title text")
    rows = {"corpus": TITLED, "queries": [{**row, "title": ""} for row in QUERIES]}
    hub.add_dataset("BeIR/scifact", declared({name: (text, {name: rows[name]}) for name in rows}))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    folder: Path = tmp_path_factory.mktemp("hub")
    tokenizer = letters()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    steps = {
        "stsb": examples("similarity", {"path": "sentence-transformers/stsb"}, *SPLITS),
        "nano": command("eval", "bert", "--task", "retrieval", "--data", "zeta-alpha-ai/NanoNFCorpus", "--json"),
        "mteb": examples("retrieval", {"path": "mteb/scifact"}, "train", "validation"),
        "beir": command("eval", "bert", "--task", "retrieval", "--data", "BeIR/scifact", "--json"),
        "other": command("eval", "bert", "--task", "retrieval", "--data", "mteb/nothing", "--json"),
    }
    with StandInHub() as hub:
        for add in (add_stsb, add_nano, add_mteb, add_beir):
            add(hub)
        return in_one_process(hub.environ(folder / "hf"), folder, steps)


def test_stsb(ran: dict[str, Ran]) -> None:
    assert ran["stsb"].code == 0, ran["stsb"].err
    found = json.loads(ran["stsb"].out)
    assert [len(found[split]) for split in SPLITS] == [5, 5, 5]
    assert (found["test"][1]["text"], found["test"][1]["pair"], found["test"][1]["label"]) == (
        "ship 1",
        "ships 1",
        "0.25",
    )


def test_nanobeir(ran: dict[str, Ran]) -> None:
    assert ran["nano"].code == 0, ran["nano"].err
    found = json.loads(ran["nano"].out)
    assert (found["total"], found["documents"]) == (3, 12)
    assert 0 < found["ndcg@10"] <= 100


def test_judgements_of_each_split(ran: dict[str, Ran]) -> None:
    assert ran["mteb"].code == 0, ran["mteb"].err
    found = json.loads(ran["mteb"].out)
    assert [(row["text"], row["pair"]) for row in found["train"]] == [("query 0", "Ship passage 0")]
    assert [row["id"] for row in found["validation"] if row["role"] == "query"] == ["q1", "q2"]


def test_a_collection_without_judgements_says_where_they_are(ran: dict[str, Ran]) -> None:
    assert ran["beir"].code == 1
    assert "BeIR/scifact has no judgements; it has corpus, queries" in ran["beir"].err
    assert "FOLDER/qrels/test.tsv" in ran["beir"].err
    assert "Traceback" not in ran["beir"].err


def test_what_is_not_there(ran: dict[str, Ran]) -> None:
    assert ran["other"].code == 1
    assert "mteb/nothing" in ran["other"].err
    assert "Traceback" not in ran["other"].err
